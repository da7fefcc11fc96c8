//! Lifecycle of a module's process: when it is started, ended, judged hung and tried again.

pub mod backoff;
pub mod events;
pub mod history;
pub mod lifecycle;
pub mod limits;
pub mod probe;
