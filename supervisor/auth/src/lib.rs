//! Authentication and rights: who a caller on the network is, and what it may do.
//!
//! Never knows the machine, and forwards nothing: it is asked by the proxy at its gate, by the service `AuthService` for
//! tokens, and is told each config that is applied.
//!
//! Reading order: [`policy`] (one config's answer to all questions) with [`credentials`], [`tokens`], [`external`] and
//! [`roles`] over [`methods`], for modules [`modules`]; [`access`] (the policy in force, and tokens for credentials) with [`throttle`] and `exposure`; [`gate`] (what
//! every call meets) with [`denials`] (what was refused lately).

pub mod access;
pub mod credentials;
pub mod denials;
mod exposure;
pub mod external;
pub mod gate;
pub mod methods;
pub mod modules;
pub mod policy;
pub mod roles;
mod text;
pub mod throttle;
pub mod tokens;
