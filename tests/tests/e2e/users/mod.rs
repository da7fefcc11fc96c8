//! Habits of users: each file is named by what somebody did, and holds what must have come of it.

mod asked_why;
mod blocked_the_event_loop;
mod brings_a_config;
mod brought_an_old_camera;
mod called_too_much;
mod changed_a_script;
mod cleaned_temporary_folders;
mod copied_a_program_from_elsewhere;
mod dropped_root_in_a_module;
mod ended_the_mover_last;
mod installed_the_package;
mod moved_a_motor;
mod piped_a_config;
mod pressed_ctrl_c_twice;
mod pressed_tab;
mod ran_out_of_files;
mod rotated_logs;
mod started_with_nohup;
mod tried_many_configs;
