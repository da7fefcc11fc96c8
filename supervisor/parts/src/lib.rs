//! Machines of several parts: a main part and its sub-parts, each a computer of its own. Here is what makes a computer a part:
//! its files, the invitations of the main part, and the exchange by which another computer joins.
//!
//! Never opens a connection, and knows no config: messages come in and go out as bytes, times are given.
//!
//! Reading order: [`code`] (what a person carries from one computer to the other), [`exchange`] (both sides of the proof that the
//! code is known), [`invitations`] (which codes count, and for how long), [`folder`] (the files; the list of a
//! main part is in `members`), [`handover`] and [`take_over`] (how another
//! computer becomes the main part).

pub mod code;
pub mod exchange;
pub mod folder;
mod folder_error;
pub mod handover;
pub mod invitations;
mod members;
mod record;
pub mod take_over;
