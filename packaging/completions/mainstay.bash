# Loaded by bash-completion at the first Tab behind `mainstay`.
source <(mainstay completions bash)
