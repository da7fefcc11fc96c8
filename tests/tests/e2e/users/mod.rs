//! Habits of users: each file is named by what somebody did, and holds what must have come of it.

mod asked_why;
mod changed_a_script;
mod installed_the_package;
mod moved_a_motor;
mod piped_a_config;
mod pressed_tab;
mod rotated_logs;
