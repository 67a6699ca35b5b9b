"""The figures of reports, as PNG files: drawn with matplotlib, without a display."""

from gossamer.study.figures.demo import draw_nearest, draw_posting_lists, draw_speed, draw_training
from gossamer.study.figures.study import draw_costs, draw_curves, draw_distractors, draw_evenness, draw_list_lengths

__all__ = [
    "draw_costs",
    "draw_curves",
    "draw_distractors",
    "draw_evenness",
    "draw_list_lengths",
    "draw_nearest",
    "draw_posting_lists",
    "draw_speed",
    "draw_training",
]
