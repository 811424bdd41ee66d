"""MotionEcho: training-free motion customization for distilled text-to-video models.

Start with `motionecho/echo.py`, which reads beside the paper's Algorithm 1.
"""

__version__ = "0.1.0"
