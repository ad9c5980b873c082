//! Matching of requests, and reading what webhooks say.
