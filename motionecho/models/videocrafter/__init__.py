"""VideoCrafter2 and its distilled T2V-Turbo-V2: the LVDM networks and their public checkpoints."""
