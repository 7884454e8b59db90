"""Run folders: their files, and the runner that runs the missing cells."""
