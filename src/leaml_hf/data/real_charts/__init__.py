"""
Charts that matplotlib draws from real tables, with questions: a target domain no base model of ours has seen.

- `build_real_charts`: the folder of pictures and questions
- `real_charts_baselines`: how much the questions alone give away
- `real_tables`: the tables, their packages and licences
"""

from .baselines import real_charts_baselines
from .builder import build_real_charts, default_cache_dir
from .tables import real_tables

__all__ = ["build_real_charts", "default_cache_dir", "real_charts_baselines", "real_tables"]
