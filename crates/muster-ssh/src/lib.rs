//! Reaching other machines the way their owner does by hand: settings from `ssh -G`, known hosts, agents, jumps, sudo.
//!
//! It runs commands and carries bytes; it refuses to know what the commands are for.
