//! Drivers: one task per module, one for the machine, one for the config. They do the IO that `mainstay-core` asks for, and
//! publish what others may see.
//!
//! Never decides what core can decide, and never serves a call itself.
//!
//! Reading order: [`module`] (one process, from its program to its end), [`remote`] (one other machine whose
//! resources are used), [`machine`] (all resources and modules), [`rollout`]
//! (the config file, applied as a transaction), [`change_signal`] and [`event_log`] (what others are told), [`wall_clock`].

pub mod change_signal;
pub mod event_log;
pub mod machine;
pub mod model_links;
pub mod module;
pub mod remote;
pub mod rollout;
pub mod rotating_file;
pub mod wall_clock;

/// Waits for `deadline`, for ever if there is none.
pub(crate) async fn sleep_until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
