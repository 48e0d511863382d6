# syntax=docker/dockerfile:1

# The worker on an image that has torch already. docs/deploy.md: pinning the base by digest, baking a model,
# GPUs of the Blackwell generation.
ARG BASE_IMAGE=ghcr.io/swivid/f5-tts:main
FROM ${BASE_IMAGE}

# INFO: the SDK's default, DEBUG, logs complete jobs. Unbuffered: the last lines before a crash are the important
# ones. Thread settings are not made here: f5_worker/server/startup.py makes the one that was measured to matter.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RUNPOD_DEBUG_LEVEL=INFO \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# Not on /runpod-volume or /workspace: a volume mounted there would hide the files of the image.
WORKDIR /app

# A venv that includes the base's packages. Packages installed into it hide those and change none: torch, CUDA and
# everything built against them stay as they are. The lock is complete (--no-deps), with the hash of each file, and all
# are wheels, so that no code of a package runs here. It has no torch, and no numpy: f5_tts in the base needs a numba
# that needs the base's numpy, and the worker runs with 1.26 and later.
COPY requirements.txt ./
RUN python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "requirements.txt is locked for Python 3.11 to 3.13, this base has another; see docs/deploy.md")' \
    && python3 -m venv --system-site-packages /opt/venv \
    && python -m pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: -r requirements.txt

# Triton needs a C compiler for the code that launches the engine's kernels; without one, the engine is slower. Bases
# named -devel and the f5-tts image have one.
# hadolint ignore=DL3008
RUN command -v gcc > /dev/null \
    || { apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*; }

# The grammars that read numbers aloud, compiled once for each version of their library (some minutes). What compiles
# them takes 700 MB and is not kept.
COPY requirements-grammars.txt ./
COPY scripts/build_grammars.py scripts/
COPY f5_worker/__init__.py f5_worker/log.py f5_worker/
COPY f5_worker/text/__init__.py f5_worker/text/
COPY f5_worker/text/expand/__init__.py f5_worker/text/expand/grammar.py f5_worker/text/expand/library.py f5_worker/text/expand/
RUN python3 -m venv /tmp/compiler \
    && /tmp/compiler/bin/python -m pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: -r requirements-grammars.txt \
    && /tmp/compiler/bin/python scripts/build_grammars.py /opt/venv/share/f5-worker/grammars \
    && rm -rf /tmp/compiler

# The flash-attn wheel that fits the base's Python, torch, CUDA and C++ ABI, if there is one (auto); or URL#sha256=SUM; or
# wheels/NAME, a file; or none. It is run at the first start on a GPU: a build has none.
ARG FLASH_ATTN_WHEEL=auto
COPY f5_worker/__init__.py f5_worker/process.py f5_worker/resources.py f5_worker/
COPY f5_worker/storage/__init__.py f5_worker/storage/files.py f5_worker/storage/staging.py f5_worker/storage/
COPY f5_worker/boot/__init__.py f5_worker/boot/bake_flash_attn.py f5_worker/boot/
COPY f5_worker/boot/probe/ f5_worker/boot/probe/
COPY f5_worker/boot/flash_attn/__init__.py f5_worker/boot/flash_attn/install.py f5_worker/boot/flash_attn/wheels.py f5_worker/boot/flash_attn/flash_attn_wheels.json f5_worker/boot/flash_attn/
RUN --mount=type=bind,source=wheels,target=/wheels \
    python -m f5_worker.boot.bake_flash_attn "${FLASH_ATTN_WHEEL}" /wheels

# Models to put into the image, by name: F5TTS_v1_Base, or "F5TTS_v1_Base F5TTS_Spanish faster-whisper-base". The
# settings about pins (docs/settings.md) count here as well. Only the code that this step runs is copied before it, so
# that other changes of the code do not rebuild this layer.
ARG BAKE_MODEL=""
ARG F5_PINS=""
ARG F5_ALLOW_UNPINNED=""
COPY models/ models/
COPY f5_worker/__init__.py f5_worker/errors.py f5_worker/process.py f5_worker/
COPY f5_worker/storage/__init__.py f5_worker/storage/files.py f5_worker/storage/staging.py f5_worker/storage/
COPY f5_worker/models/__init__.py f5_worker/models/published.py f5_worker/models/published.json f5_worker/models/
COPY f5_worker/models/pickled/ f5_worker/models/pickled/
COPY f5_worker/boot/ f5_worker/boot/
RUN --mount=type=secret,id=HF_TOKEN \
    mkdir -p /opt/models \
    && for model in ${BAKE_MODEL}; do \
         HF_TOKEN="$(cat /run/secrets/HF_TOKEN 2>/dev/null || true)" \
         python -m f5_worker.boot.weights.bake "${model}" /opt/models || exit 1; \
       done

COPY handler.py http_server.py model_cache_init.py env_validation.py test_input.json ./
COPY f5_worker/ f5_worker/

# Bytecode: a user without write access here could not create it. If the base lacks a package, the imports fail now
# and not on an endpoint. `docker run IMAGE serve` starts the HTTP server. The overlay directory is where boot
# installs flash-attn, under any user. Boot starts as root and continues as the user 1000, unless only root may use the
# volume (f5_worker/boot/user.py); --user works too.
RUN python -m compileall -q f5_worker handler.py http_server.py model_cache_init.py env_validation.py \
    && python -c 'import handler, http_server, f5_worker.models.load' \
    && python -c 'from f5_worker.text.expand.library import LANGUAGES, grammar; assert all(map(grammar, LANGUAGES))' \
    && printf '#!/bin/sh\nexec python -u /app/model_cache_init.py serve "$@"\n' > /opt/venv/bin/serve \
    && chmod 755 /opt/venv/bin/serve \
    && mkdir -p /opt/f5-overlay && chmod 1777 /opt/f5-overlay \
    && { id 1000 > /dev/null 2>&1 || useradd --uid 1000 --create-home --shell /usr/sbin/nologin worker; }

# Exec form: Python is PID 1 and gets the signals. The base's entrypoint, if it has one, is left out.
ENTRYPOINT []
CMD ["python", "-u", "model_cache_init.py"]
STOPSIGNAL SIGTERM

# For Docker and Compose; RunPod does not use it. A start may take the 7 minutes that RunPod allows.
HEALTHCHECK --interval=30s --timeout=10s --start-period=480s --retries=3 \
    CMD ["python", "-m", "f5_worker.server.liveness"]

# Last, so that a new revision makes no layer again: docs/deploy.md.
ARG BASE_IMAGE
ARG REVISION=""
ARG CREATED=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="f5-worker" \
      org.opencontainers.image.description="F5-TTS voice cloning as a RunPod worker" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
