mainstay completions fish | source
