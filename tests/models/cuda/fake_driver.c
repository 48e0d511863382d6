/* What models/cuda/driver.py calls of CUDA's driver, for machines without a GPU. `failing` is the call that fails. */
#include <stdlib.h>
#include <string.h>

int n_pinned, n_opened, opened[8];
const char *failing = "";
static __thread int has_context;

static int result(const char *call) { return strcmp(call, failing) ? 0 : 2; }

int cuInit(unsigned flags) { return result("cuInit"); }
int cuDeviceGetCount(int *count) { *count = 3; return result("cuDeviceGetCount"); }
int cuDeviceGet(int *device, int number) { *device = 10 + number; return number < 3 ? result("cuDeviceGet") : 101; }

int cuDevicePrimaryCtxRetain(void **context, int device) {
    *context = &opened[n_opened];
    opened[n_opened++] = device;
    return result("cuDevicePrimaryCtxRetain");
}

int cuCtxSetCurrent(void *context) { has_context = context != 0; return result("cuCtxSetCurrent"); }

int cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) {
    if (!has_context) return 201;
    if (flags != 1 || !bytes) return 1;
    *pointer = malloc(bytes);
    n_pinned++;
    return result("cuMemHostAlloc");
}

int cuMemFreeHost(void *pointer) { free(pointer); n_pinned--; return 0; }
