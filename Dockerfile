# syntax=docker/dockerfile:1

# The worker on an image that has torch already. docs/deploy.md: pinning the base by digest, baking a model,
# GPUs of the Blackwell generation.
ARG BASE_IMAGE=ghcr.io/swivid/f5-tts:main
FROM ${BASE_IMAGE}

# INFO: the SDK's DEBUG, its default, logs every job whole. Unbuffered: the last lines before a crash are the
# ones wanted. Thread settings are not made here: f5_worker/server/startup.py makes the one that was measured to matter.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RUNPOD_DEBUG_LEVEL=INFO \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# Not on /runpod-volume nor /workspace: a volume mounted there hides what the image has.
WORKDIR /app

# A venv that sees the base's packages. What is installed into it shadows them and moves none: torch, CUDA and
# all that was built against them stay as they are. The lock is complete (--no-deps) and has no torch. numpy is
# the base's as well: f5_tts in the base needs a numba that needs that numpy, and ours runs with 1.26 and later.
COPY requirements.txt ./
RUN python3 -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "requirements.txt is locked for Python 3.11, this base has another; see docs/deploy.md")' \
    && python3 -m venv --system-site-packages /opt/venv \
    && grep -v '^numpy==' requirements.txt > /tmp/requirements.txt \
    && python -m pip install --no-cache-dir --no-deps -r /tmp/requirements.txt \
    && rm /tmp/requirements.txt

# Triton compiles with it what launches the engine's kernels; without one the engine is slower. Bases named -devel and
# the f5-tts image have it.
# hadolint ignore=DL3008
RUN command -v gcc > /dev/null \
    || { apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*; }

# A flash-attn wheel for this base: URL#sha256=SUM. Without one, boot decides. The engine does without it.
ARG FLASH_ATTN_WHEEL=""
# hadolint ignore=DL3013
RUN if [ -n "${FLASH_ATTN_WHEEL}" ]; then python -m pip install --no-cache-dir --no-deps "${FLASH_ATTN_WHEEL}"; fi

# Models to have in the image, by name: F5TTS_v1_Base, or "F5TTS_v1_Base F5TTS_German faster-whisper-base". Only
# what this step runs is copied before it, so that another change of the code leaves this layer as it is.
ARG BAKE_MODEL=""
COPY models/ models/
COPY f5_worker/__init__.py f5_worker/errors.py f5_worker/process.py f5_worker/
COPY f5_worker/storage/__init__.py f5_worker/storage/files.py f5_worker/storage/
COPY f5_worker/models/__init__.py f5_worker/models/published.py f5_worker/models/published.json f5_worker/models/
COPY f5_worker/boot/ f5_worker/boot/
RUN --mount=type=secret,id=HF_TOKEN \
    mkdir -p /opt/models \
    && for model in ${BAKE_MODEL}; do \
         HF_TOKEN="$(cat /run/secrets/HF_TOKEN 2>/dev/null || true)" \
         python -m f5_worker.boot.weights.bake "${model}" /opt/models || exit 1; \
       done

COPY handler.py model_cache_init.py env_validation.py test_input.json ./
COPY f5_worker/ f5_worker/

# Bytecode: a user without rights here could not write it. The imports fail now rather than on an endpoint, if
# the base lacks something. The overlay is where boot lays a flash-attn, as whatever user it runs.
RUN python -m compileall -q f5_worker handler.py model_cache_init.py env_validation.py \
    && python -c 'import handler, f5_worker.models.f5.runner' \
    && mkdir -p /opt/f5-overlay && chmod 1777 /opt/f5-overlay

# Exec form: Python is PID 1 and gets the signals. The base's entrypoint, if it has one, is left out.
ENTRYPOINT []
CMD ["python", "-u", "model_cache_init.py"]
