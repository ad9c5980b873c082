//! What is run on hosts, word for word.
