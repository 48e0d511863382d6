/* What models/cuda/driver.py calls of CUDA's driver, for machines without a GPU. `failing` is the call that fails, FAILING the first. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int n_opened, opened[8];
const char *failing = FAILING;
static __thread int has_context;

static int result(const char *call) { return strcmp(call, failing) ? 0 : 2; }

int cuInit(unsigned flags) {
    if (!strcmp(failing, "crash")) abort();
    if (!strcmp(failing, "hang")) pause();
    return result("cuInit");
}
int cuDriverGetVersion(int *version) { *version = VERSION; return result("cuDriverGetVersion"); }
int cuDeviceGetCount(int *count) { *count = 3; return result("cuDeviceGetCount"); }
int cuDeviceGet(int *device, int number) { *device = 10 + number; return number < 3 ? result("cuDeviceGet") : 101; }

int cuDeviceGetName(char *name, int size, int device) {
    if (device < 10 || size < 12) return 1;
    strcpy(name, "NVIDIA Fake");
    return result("cuDeviceGetName");
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 9 : -1;
    return result("cuDeviceGetAttribute");
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    *bytes = (size_t)24 << 30;
    return result("cuDeviceTotalMem_v2");
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    *context = &opened[n_opened];
    opened[n_opened++] = device;
    return result("cuDevicePrimaryCtxRetain");
}

int cuCtxSetCurrent(void *context) { has_context = context != 0; return result("cuCtxSetCurrent"); }

int cuMemGetInfo_v2(size_t *free, size_t *total) {
    *free = (size_t)20 << 30;
    *total = (size_t)24 << 30;
    return has_context ? result("cuMemGetInfo_v2") : 201;
}
