//! muster-agent.
