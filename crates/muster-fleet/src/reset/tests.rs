//! Resets as stories: nodes of other tools, cuts of the power, and what stays.
