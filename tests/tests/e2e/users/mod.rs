//! Habits of users: each file is named by what somebody did, and holds what must have come of it.

mod brings_a_config;
mod installed_the_package;
mod pressed_tab;
