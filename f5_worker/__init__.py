"""F5-TTS voice cloning as a RunPod worker."""

__version__ = "0.1.0"
