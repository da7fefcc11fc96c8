//! Habits of users: each file is named by what somebody did, and holds what must have come of it.

mod blocked_the_event_loop;
mod brought_an_old_camera;
mod called_too_much;
mod ended_the_mover_last;
mod installed_the_package;
mod pressed_tab;
