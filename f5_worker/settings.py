"""The environment variables of the worker: name, type, range, default and description.

They are read once, at start, by `load_settings()`. All bad variables are reported together.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from f5_worker.errors import SettingsInvalid

PREFIX = "F5_"
# Names of earlier versions, still read where the new one is not set.
FORMER_NAMES = {"F5_PACKS": "extra_models", "F5_PACK_DIRS": "extra_model_dirs"}
# RunPod's names for the same thing.
SDK_NAMES = {
    "RUNPOD_ALLOW_PRIVATE_DOWNLOAD_URLS": "fetch_private",
    "PORT": "http_port",  # of a load-balancing endpoint
    "PORT_HEALTH": "http_health_port",
}
VOLUME = Path("/runpod-volume")  # where RunPod mounts network volumes and cached models (docs: serverless/storage)
VOICES_FOLDER = "f5-voices"  # on the volume
REPOSITORY = Path(__file__).resolve().parent.parent
_PIN = r"[\w.-]+@[0-9a-f]{40}:[0-9a-f]{64}"


class Settings(BaseModel):
    """The worker's configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # model
    model: str = Field(
        "F5TTS_v1_Base", min_length=1, description="Checkpoint: a name under the model directories, or a directory."
    )
    models_dir: Path = Field(
        Path("/opt/models"),
        description="Directory of the checkpoints, one directory each; `models/` beside the code is searched first.",
    )
    model_dir: Path | None = Field(
        None, description="Directory of the checkpoint; boot sets it to the one that it found or made for F5_MODEL."
    )
    extra_models: str = Field(
        "", description="Further checkpoints that jobs may choose by `model`, separated by commas; fetched at start."
    )
    extra_model_dirs: str = Field(
        "", description="Directories of those checkpoints, `name=directory` separated by commas; set by boot."
    )
    pins: str = Field(
        "",
        pattern=rf"^({_PIN}( *, *{_PIN})*)?$",
        examples=["NAME@COMMIT:SHA256, ..."],
        description="Commits of the hub and sha256 of the weights of published checkpoints, instead of the known ones.",
    )
    allow_unpinned: bool = Field(
        False, description="Also use published checkpoints of which no commit and sha256 is known beforehand."
    )
    models_memory_mb: int = Field(
        12_000, ge=100, le=1_000_000, description="Memory of each device for checkpoints; the least recently used goes."
    )
    gpu_memory_mb: int | None = Field(
        None, ge=100, le=1_000_000, description="Memory that this worker takes of each GPU at most, beside CUDA's own."
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:all|:\d{1,2})?)$",
        examples=["auto | cuda | cuda:1 | cuda:all | cpu"],
        description="Device of the model; `auto` takes CUDA when torch sees a GPU, `cuda:all` all GPUs.",
    )
    engine: Literal["auto", "own", "upstream"] = Field(
        "auto",
        description="What runs the model: this worker's own engine, or f5-tts, one segment at a time; `auto`: its own "
        "where it implements the checkpoint.",
    )
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        "auto", description="Precision of the model; `auto` is fp16 on CUDA, bf16 on a CPU that has it, else fp32."
    )
    cpu_threads: int = Field(
        0, ge=0, le=256, description="Threads for computing on a CPU; 0: as many as there are cores."
    )

    # jobs
    concurrency: int = Field(
        2, ge=1, le=256, description="Jobs that run at a time; if not set, 32 for each GPU, which speaks them together."
    )
    queue_jobs: int = Field(
        64, ge=0, le=10_000, description="Jobs that may wait, over HTTP and in the local API; more are refused."
    )
    job_timeout_s: float = Field(
        600.0,
        ge=1,
        le=86_400,
        description="Longest time for one job, without waiting; RunPod's own executionTimeout should be longer.",
    )
    max_text_chars: int = Field(20_000, ge=1, le=20_000, description="Longest text of one job.")
    pronunciations: Path | None = Field(None, description="JSON file of pronunciations for all jobs, up to 1,000.")
    max_audio_s: float = Field(
        3_600.0, ge=1, le=14_400, description="Longest speech of one job, as estimated from text and reference."
    )
    max_reply_bytes: int = Field(
        9_500_000,
        ge=1_000,
        le=100_000_000,
        description="Largest response in JSON; RunPod drops results above 10 MB (/run) or 20 MB (/runsync).",
    )
    batch_frames: int = Field(
        8_192,
        ge=4_096,
        le=1_000_000,
        description="Mel frames in one forward of the model, unconditional rows included; bounds its peak memory.",
    )
    warm_up_s: float = Field(
        10.0,
        ge=0,
        le=300,
        description="Longest time for capturing CUDA graphs of likely sizes, beside the first jobs (GPU).",
    )

    # HTTP
    http_host: str = Field("0.0.0.0", min_length=1, description="Address that the HTTP server listens on.")  # noqa: S104
    http_port: int = Field(8_000, ge=1, le=65_535, description="Its port; the same as RunPod's PORT.")
    http_health_port: int | None = Field(
        None, ge=1, le=65_535, description="A second port of it, for health checks; the same as RunPod's PORT_HEALTH."
    )
    api_key: SecretStr | None = Field(
        None,
        examples=["KEY or ann:KEY1,bob:KEY2"],
        description="Keys of the HTTP server's callers, separated by commas, each with a name for the log if you like.",
    )
    http_jobs_s: float = Field(3_600.0, ge=1, le=86_400, description="How long a finished job of `/v1/jobs` is kept.")
    http_jobs_mb: int = Field(
        256, ge=1, le=100_000, description="Memory for the results of those; the oldest go first."
    )
    cors_origins: str = Field(
        "",
        examples=["https://studio.example.com or *"],
        description="Origins of pages that may call the HTTP server from a browser, separated by commas; `*` for all.",
    )

    # delivery
    delivery: Literal["auto", "inline", "s3"] = Field(
        "auto", description="Where results go; `auto`: into the response while they fit, else to the bucket."
    )
    s3_prefix: str = Field("", max_length=200, description="Prefix of every key that is written to the bucket.")
    s3_url_ttl_s: int = Field(3_600, ge=60, le=604_800, description="How long a presigned URL is valid.")
    s3_public_url: str | None = Field(
        None, description="Address of a public bucket; results then get `<address>/<key>`, unsigned."
    )
    s3_timeout_s: float = Field(60.0, ge=1, le=600, description="Time to write or read one file of the bucket.")
    resume_dir: Path | None = Field(None, description="Finished items of batches; or in the bucket, or on the volume.")
    resume_days: float = Field(7.0, ge=0.01, le=365, description="How long those are found again; then they may go.")
    streaming: bool = Field(
        False, description="Stream: responses are lists of chunks, each sent as soon as it is spoken. Fixed at start."
    )
    stream_first_s: float = Field(2.5, ge=1, le=20, description="Target length of a streamed text's first segment.")

    # references
    reference_max_bytes: int = Field(
        25_000_000, ge=1_000, le=500_000_000, description="Largest reference file, sent inline or fetched."
    )
    reference_decode_max_s: float = Field(
        600.0, ge=1, le=3_600, description="Longest reference recording that is decoded."
    )
    reference_max_s: float = Field(
        12.0, ge=3, le=20, description="Longest clip given to the model; longer ones are cut at a pause."
    )
    fetch_timeout_s: float = Field(20.0, ge=1, le=300, description="Total time for fetching a reference by URL.")
    fetch_http: bool = Field(False, description="Also fetch plain http URLs.")
    fetch_private: bool = Field(
        False,
        description="Also open private addresses and other ports; the same as RUNPOD_ALLOW_PRIVATE_DOWNLOAD_URLS.",
    )
    check_transcripts: bool = Field(
        True, description="Compare each caller's transcript with what the recogniser hears in the clip."
    )

    # voices
    voices_dir: Path | None = Field(
        None, description="Directory of added voices; by default `f5-voices` on a mounted network volume."
    )
    voices_s3_prefix: str | None = Field(
        None, max_length=200, description="Store voices in the bucket, under this prefix, such as `voices/`."
    )
    voices_scope: Literal["shared", "per_key"] = Field(
        "shared",
        description="`shared`: all callers list, hear, replace and delete all voices. `per_key`: each sees those of "
        "its own `voices_key`, and those that the operator has put there.",
    )
    max_voices: int = Field(
        10_000, ge=1, le=1_000_000, description="Voices that may be stored; with `per_key`, by each key."
    )
    max_voices_mb: int = Field(
        20_000, ge=1, le=10_000_000, description="Space of their files; with `per_key`, of each key's."
    )
    default_voice: str | None = Field(
        None, description="The voice of jobs that name none, or in OpenAI's and ElevenLabs' calls one of theirs."
    )
    voice_aliases: str = Field(
        "",
        pattern=r"^(?:[^,=]+=[^,=]+(?:,\s*|$))*$",
        examples=["alloy=joe,nova=anna"],
        description="Voices of this worker that names in OpenAI's and ElevenLabs' calls stand for: `name=voice`, ...",
    )
    require_consent: bool = Field(True, description="Store a new voice only with a statement of its speaker's consent.")
    voice_cache: int = Field(64, ge=1, le=4_096, description="Prepared references kept in memory.")

    # recogniser
    asr_model: str = Field(
        "faster-whisper-base",
        min_length=1,
        description="Whisper model that transcribes references and times words: a name, a directory, or `off`.",
    )
    asr_dir: Path | None = Field(None, description="Directory of the recogniser; boot sets it to what it found.")
    asr_idle_s: float = Field(300.0, ge=1, le=86_400, description="The recogniser is unloaded after so long unused.")
    asr_preload: bool = Field(False, description="Load the recogniser at start and keep it, where most jobs use it.")
    verify: bool = Field(False, description="Check the speech of jobs that do not say; keep the recogniser loaded.")
    speaker_model: str = Field("off", min_length=1, description="What compares voices: a name, a directory, or `off`.")

    # boot
    alloc_conf_policy: Literal["repair", "drop", "fail"] = Field(
        "repair",
        description="On faults in PYTORCH_CUDA_ALLOC_CONF: keep the good pairs, unset it, or refuse to start.",
    )
    flash_attn: Literal["auto", "off", "require"] = Field(
        "auto",
        description="Install and use flash-attn where it is verified; ignore it; or require it, and attend with it.",
    )
    attention: Literal["auto", "triton", "flash", "torch"] = Field(
        "auto",
        description="What computes attention on a GPU: the fastest as measured there, or the one that is named.",
    )
    flash_attn_build: Literal["auto", "background", "always", "never"] = Field(
        "auto", description="Build flash-attn where no wheel fits: when time allows, for the next start, always, never."
    )
    cache_dir: Path = Field(
        Path("/tmp/f5-worker"),  # noqa: S108 - of this container
        description="Wheels and converted weights, where no volume is mounted; a mounted /runpod-volume is preferred.",
    )
    overlay_dir: Path = Field(
        Path("/opt/f5-overlay"), description="Directory of this container in which boot installs flash-attn."
    )
    user: Literal["auto", "root"] = Field(
        "auto", description="`auto`: continue as a user without rights, unless only root may use the volume; or root."
    )
    boot_report: Path | None = Field(None, description="File with boot's report for the handler; set by boot.")
    probe_timeout_s: float = Field(60.0, ge=1, le=600, description="Longest time for probing torch and the GPU.")

    # output
    save_dir: Path | None = Field(
        None, description="Also write each job's audio and response to this directory (for `docker run` with a mount)."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="DEBUG also logs the text of jobs."
    )

    @property
    def shared_cache(self) -> Path:
        """Return the directory for files that all workers share: on the volume, if one is mounted."""
        return VOLUME / "f5-worker" if os.path.isdir(VOLUME) else self.cache_dir

    @property
    def attention_backend(self) -> Literal["auto", "triton", "flash", "torch"]:
        """Return `attention`; flash-attn where it is required and nothing else is named."""
        return "flash" if self.attention == "auto" and self.flash_attn == "require" else self.attention

    @property
    def extra_model_names(self) -> tuple[str, ...]:
        """Return `extra_models` as names, each once."""
        return tuple(dict.fromkeys(name.strip() for name in self.extra_models.split(",") if name.strip()))

    @property
    def extra_model_directories(self) -> dict[str, Path]:
        """Return `extra_model_dirs` by name."""
        pairs = (pair.partition("=") for pair in self.extra_model_dirs.split(",") if pair)
        return {name: Path(directory) for name, _, directory in pairs}

    @property
    def voice_alias_names(self) -> dict[str, str]:
        """Return `voice_aliases` by name."""
        pairs = (pair.partition("=") for pair in self.voice_aliases.split(",") if pair.strip())
        return {name.strip(): voice.strip() for name, _, voice in pairs}


def join_model_dirs(directories: Mapping[str, Path]) -> str:
    """Return the value that `extra_model_directories` reads."""
    return ",".join(f"{name}={directory}" for name, directory in directories.items())


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; an empty value counts as not set, as an endpoint's form sends it.

    Raises:
        SettingsInvalid: all variables that cannot be used, with value and accepted range.
    """
    given = {name: environ.get(variable(name), "").strip() for name in Settings.model_fields}
    for other, name in (FORMER_NAMES | SDK_NAMES).items():
        given[name] = given[name] or environ.get(other, "").strip()
    try:
        return Settings.model_validate({name: value for name, value in given.items() if value})
    except ValidationError as error:
        raise SettingsInvalid([_describe(item) for item in error.errors()]) from None


def variable(field: str) -> str:
    """Return the environment variable of a field: `max_text_chars` -> `F5_MAX_TEXT_CHARS`."""
    return PREFIX + field.upper()


def unknown_variables(environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Yield a warning for each `F5_*` variable that is not a setting, with the nearest name that is."""
    known = [variable(name) for name in Settings.model_fields]
    for name in sorted(environ):
        if name in FORMER_NAMES:
            yield f"{name} is now called {variable(FORMER_NAMES[name])}; rename it"
        elif name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            yield f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else "")


def accepted(field: FieldInfo) -> str:
    """Return a description of the values that a field takes: `1..64`, `own | upstream`, `text`."""
    choices = getattr(field.annotation, "__args__", ()) if "Literal" in str(field.annotation) else ()
    if choices:
        return " | ".join(str(choice) for choice in choices)
    if field.examples:
        return str(field.examples[0])
    low = next((bound.ge for bound in field.metadata if isinstance(bound, Ge)), None)
    high = next((bound.le for bound in field.metadata if isinstance(bound, Le)), None)
    if low is not None and high is not None:
        return f"{low}..{high}"
    if field.annotation is bool:
        return "true | false"
    return "a path" if "Path" in str(field.annotation) else "text"


def _describe(item: Mapping[str, Any]) -> str:
    name = str(item["loc"][0])
    field = Settings.model_fields[name]
    value = "***" if "SecretStr" in str(field.annotation) else repr(item["input"])
    return f"{variable(name)}={value} is not accepted ({accepted(field)})"
