"""Every chart and gallery, drawn without a display."""
