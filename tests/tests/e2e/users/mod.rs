//! What people bring: their configs, their hosts, their habits. One file per thing that a user did.

mod cleaned_temporary_folders;
mod copied_a_program_from_elsewhere;
mod ran_out_of_files;
mod started_with_nohup;
mod tried_many_configs;
