"""The words that callers use: this worker's own, OpenAI's, and those of the earlier F5-TTS worker."""
