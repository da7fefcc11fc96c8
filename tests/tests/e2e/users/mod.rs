//! Habits of users: each file is named by what somebody did, and holds what must have come of it.

mod blocked_the_event_loop;
mod installed_the_package;
mod pressed_tab;
