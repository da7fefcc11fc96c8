//! Habits of users: each file is named by what somebody did, and holds what must have come of it.

mod cleaned_temporary_folders;
mod copied_a_program_from_elsewhere;
mod dropped_root_in_a_module;
mod installed_the_package;
mod pressed_tab;
mod ran_out_of_files;
mod started_with_nohup;
mod tried_many_configs;
