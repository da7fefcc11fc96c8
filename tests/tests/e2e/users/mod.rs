//! Habits of users: each file is named by what somebody did, and holds what must have come of it.

mod installed_the_package;
mod pressed_tab;
mod asked_why;
mod changed_a_script;
mod moved_a_motor;
mod piped_a_config;
mod rotated_logs;
