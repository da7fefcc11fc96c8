//! The core's own services: the robot protocol, the control protocol, reflection, logs, jobs, web pages, trace export, systemd,
//! and the listeners of modules and of the command line.
//!
//! Never changes a machine by itself: it asks the handles of `mainstay-runtime`, and follows the config that is applied.
//!
//! Reading order: [`listeners`] and [`local_services`] (where calls come in), [`robot`] (the machine as clients see it),
//! [`control`] (as the command line sees it), [`auth_service`], `access_service` (what a caller may do), [`remote_service`] (as other machines
//! see it), [`reflection`], [`rest`], [`jobs`], [`log`], [`trace_export`], [`web`], [`systemd`], [`mdns`];
//! [`followers`] (what the applied config feeds).

mod access_service;
pub mod auth_service;
mod configs;
pub mod control;
mod feeds;
pub mod followers;
pub mod health;
pub mod jobs;
pub mod listeners;
pub mod local_services;
pub mod log;
pub mod mdns;
pub mod parts;
pub mod reflection;
pub mod remote_service;
pub mod rest;
pub mod robot;
pub mod systemd;
pub mod trace_export;
pub mod web;
