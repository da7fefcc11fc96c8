//! What people bring and do: each file is named by what the user did.

mod brings_a_config;
