"""Recipe of models/f5-tiny: text, speech, training, export, measuring. See README.md here."""
