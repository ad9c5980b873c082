//! Custom resources from definition to judgement.
