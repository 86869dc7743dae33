# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_launcher_global_optspecs
    string join \n h/help V/version
end

function __fish_launcher_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_launcher_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_launcher_using_subcommand
    set -l cmd (__fish_launcher_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c launcher -n "__fish_launcher_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_needs_command" -s V -l version -d 'Print version'
complete -c launcher -n "__fish_launcher_needs_command" -f -a "init" -d 'Looks at a text and at this machine, and writes a first config for them, to prepare and to train'
complete -c launcher -n "__fish_launcher_needs_command" -f -a "prepare" -d 'Turns documents into shuffled, tokenized shards and their index'
complete -c launcher -n "__fish_launcher_needs_command" -f -a "train" -d 'Starts the run that the config names, or resumes it. A run folder resumes with the config in it'
complete -c launcher -n "__fish_launcher_needs_command" -f -a "render" -d 'Prints exactly what `launcher train` would start the ranks with, without starting anything'
complete -c launcher -n "__fish_launcher_needs_command" -f -a "sample" -d 'Continues a prompt with text from a checkpoint'
complete -c launcher -n "__fish_launcher_needs_command" -f -a "eval" -d 'Evaluates a checkpoint by tasks on any number of ranks, and prints the table beside published figures'
complete -c launcher -n "__fish_launcher_needs_command" -f -a "check" -d 'Checks everything that a run needs, before it is paid for: config, storage, data, hosts, GPUs, network'
complete -c launcher -n "__fish_launcher_needs_command" -f -a "status" -d 'Shows the state of a run, from its folder: its holder, its progress, and how it last ended'
complete -c launcher -n "__fish_launcher_needs_command" -f -a "metrics" -d 'Prints the metrics of a run as CSV or JSON: a row for each step that counts, with its validation loss'
complete -c launcher -n "__fish_launcher_needs_command" -f -a "stop" -d 'Asks a running run, here or elsewhere, to save a checkpoint and end, and waits until it has'
complete -c launcher -n "__fish_launcher_needs_command" -f -a "checkpoints" -d 'Lists, verifies, prunes and copies the checkpoints of a run, and asks for one'
complete -c launcher -n "__fish_launcher_needs_command" -f -a "tokenizer" -d 'Converts text to token ids and back; trains tokenizers'
complete -c launcher -n "__fish_launcher_needs_command" -f -a "shards" -d 'Shows and verifies token shards'
complete -c launcher -n "__fish_launcher_needs_command" -f -a "completions" -d 'Prints what a shell needs to complete commands and options with the Tab key'
complete -c launcher -n "__fish_launcher_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c launcher -n "__fish_launcher_using_subcommand init" -l output -d 'Config to write' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand init" -l tokenizer -d '`gpt2`, or the path or URL of the files of another tokenizer' -r
complete -c launcher -n "__fish_launcher_using_subcommand init" -l text-field -d 'Field of a JSON line, or column of a Parquet file, that holds the text' -r
complete -c launcher -n "__fish_launcher_using_subcommand init" -l on-bad-document -d 'What becomes of a document that cannot be read, such as a line without that field: it ends the command, or is left out here and when the text is prepared (prepare.on_bad_document)' -r -f -a "fail\t'Ends with an error that names the document'
skip\t'Leaves it out, and counts it'"
complete -c launcher -n "__fish_launcher_using_subcommand init" -l device -d 'What to train on: GPUs if there are any, or the CPU in any case' -r -f -a "auto\t'This machine\'s GPUs, or its CPU where there are none'
cpu\t'The CPU'"
complete -c launcher -n "__fish_launcher_using_subcommand init" -l force -d 'Overwrites that file if it exists'
complete -c launcher -n "__fish_launcher_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and not __fish_seen_subcommand_from explain" -l config -d 'Config, as the argument takes it, too' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and not __fish_seen_subcommand_from explain" -l set -d 'Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text' -r
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and not __fish_seen_subcommand_from explain" -l backend -d 'Backend that starts the ranks (launch.backend)' -r -f -a "local\t'This machine: mpirun for several ranks'
mpirun\t'Many hosts: mpirun over ssh'
kubernetes\t'A Kubernetes cluster with the MPI operator: an MPIJob for each attempt'
slurm\t'Slurm: submits itself as a batch job outside an allocation; inside one, its nodes are the hosts'"
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and not __fish_seen_subcommand_from explain" -l ranks -d 'Number of ranks (launch.ranks)' -r
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and not __fish_seen_subcommand_from explain" -l hosts -d 'Hosts for the ranks, each with its number of ranks: a:8,b:8 (launch.hosts)' -r
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and not __fish_seen_subcommand_from explain" -l hostfile -d 'File that lists the hosts, one a line: node-1 slots=8 (launch.hostfile)' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and not __fish_seen_subcommand_from explain" -l ranks-per-node -d 'Ranks on each host for which the list gives no number (launch.ranks_per_node)' -r
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and not __fish_seen_subcommand_from explain" -l threads-per-rank -d 'Compute threads of each rank; 0 shares the cores evenly (launch.threads_per_rank)' -r
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and not __fish_seen_subcommand_from explain" -l dry-run -d 'Prints what would run, over what, and what is done already. Starts no ranks, and writes nothing'
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and not __fish_seen_subcommand_from explain" -l json -d 'Prints the result as JSON'
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and not __fish_seen_subcommand_from explain" -l render -d 'Prints what would start the ranks, without a secret, and starts nothing: a command line, a script, or the objects of a cluster'
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and not __fish_seen_subcommand_from explain" -l detach -d 'With --backend kubernetes: starts a Job in the cluster that does what this command would do here, and returns'
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and not __fish_seen_subcommand_from explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and not __fish_seen_subcommand_from explain" -a "explain" -d 'Prints what became of a document in every stage, and why: source, place, rule, measure and limit'
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and __fish_seen_subcommand_from explain" -l config -d 'Config, as the argument takes it, too' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and __fish_seen_subcommand_from explain" -l set -d 'Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text' -r
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and __fish_seen_subcommand_from explain" -l json -d 'Prints the answer as JSON'
complete -c launcher -n "__fish_launcher_using_subcommand prepare; and __fish_seen_subcommand_from explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand train" -l config -d 'Config, as the argument takes it, too' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand train" -l set -d 'Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text' -r
complete -c launcher -n "__fish_launcher_using_subcommand train" -l backend -d 'Backend that starts the ranks (launch.backend)' -r -f -a "local\t'This machine: mpirun for several ranks'
mpirun\t'Many hosts: mpirun over ssh'
kubernetes\t'A Kubernetes cluster with the MPI operator: an MPIJob for each attempt'
slurm\t'Slurm: submits itself as a batch job outside an allocation; inside one, its nodes are the hosts'"
complete -c launcher -n "__fish_launcher_using_subcommand train" -l ranks -d 'Number of ranks (launch.ranks)' -r
complete -c launcher -n "__fish_launcher_using_subcommand train" -l hosts -d 'Hosts for the ranks, each with its number of ranks: a:8,b:8 (launch.hosts)' -r
complete -c launcher -n "__fish_launcher_using_subcommand train" -l hostfile -d 'File that lists the hosts, one a line: node-1 slots=8 (launch.hostfile)' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand train" -l ranks-per-node -d 'Ranks on each host for which the list gives no number (launch.ranks_per_node)' -r
complete -c launcher -n "__fish_launcher_using_subcommand train" -l threads-per-rank -d 'Compute threads of each rank; 0 shares the cores evenly (launch.threads_per_rank)' -r
complete -c launcher -n "__fish_launcher_using_subcommand train" -l output -d 'Run folder, a storage URL or a path (run.output)' -r
complete -c launcher -n "__fish_launcher_using_subcommand train" -l accept-change -d 'Key that may differ from the config that the run was saved with, such as optimizer.peak_learning_rate; may be repeated. The change is recorded. configs/README.md says which keys need this, and which may always change' -r
complete -c launcher -n "__fish_launcher_using_subcommand train" -l from -d 'Goes back to the checkpoint of this step or name before the run starts. Later checkpoints no longer count: nothing resumes from them, and they are deleted as the run passes them. To continue afterwards, run the command without this flag' -r
complete -c launcher -n "__fish_launcher_using_subcommand train" -l profile -d 'Range of steps for which every rank writes a trace into the run folder, for ui.perfetto.dev (metrics.profile)' -r
complete -c launcher -n "__fish_launcher_using_subcommand train" -l from-scratch -d 'Begins the run again, from its first step, whether it is done, stopped or refused; any config will do. The checkpoints that it has no longer count, as with --from, and neither do their metrics'
complete -c launcher -n "__fish_launcher_using_subcommand train" -l detach -d 'With --backend kubernetes: starts a Job in the cluster that does what this command would do here, and returns'
complete -c launcher -n "__fish_launcher_using_subcommand train" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand render" -l config -d 'Config, as the argument takes it, too' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand render" -l set -d 'Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text' -r
complete -c launcher -n "__fish_launcher_using_subcommand render" -l backend -d 'Backend that starts the ranks (launch.backend)' -r -f -a "local\t'This machine: mpirun for several ranks'
mpirun\t'Many hosts: mpirun over ssh'
kubernetes\t'A Kubernetes cluster with the MPI operator: an MPIJob for each attempt'
slurm\t'Slurm: submits itself as a batch job outside an allocation; inside one, its nodes are the hosts'"
complete -c launcher -n "__fish_launcher_using_subcommand render" -l ranks -d 'Number of ranks (launch.ranks)' -r
complete -c launcher -n "__fish_launcher_using_subcommand render" -l hosts -d 'Hosts for the ranks, each with its number of ranks: a:8,b:8 (launch.hosts)' -r
complete -c launcher -n "__fish_launcher_using_subcommand render" -l hostfile -d 'File that lists the hosts, one a line: node-1 slots=8 (launch.hostfile)' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand render" -l ranks-per-node -d 'Ranks on each host for which the list gives no number (launch.ranks_per_node)' -r
complete -c launcher -n "__fish_launcher_using_subcommand render" -l threads-per-rank -d 'Compute threads of each rank; 0 shares the cores evenly (launch.threads_per_rank)' -r
complete -c launcher -n "__fish_launcher_using_subcommand render" -l output -d 'Run folder, a storage URL or a path (run.output)' -r
complete -c launcher -n "__fish_launcher_using_subcommand render" -l detach -d 'With --backend kubernetes: prints what --detach of `launcher train` or `launcher prepare` would apply'
complete -c launcher -n "__fish_launcher_using_subcommand render" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand sample" -l config -d 'Config, as the argument takes it, too' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand sample" -l set -d 'Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text' -r
complete -c launcher -n "__fish_launcher_using_subcommand sample" -l prompt -d 'Text to continue' -r
complete -c launcher -n "__fish_launcher_using_subcommand sample" -l tokens -d 'Maximum number of tokens to add; the text may end earlier' -r
complete -c launcher -n "__fish_launcher_using_subcommand sample" -l temperature -d 'Divisor of the logits; 0 always takes the likeliest token' -r
complete -c launcher -n "__fish_launcher_using_subcommand sample" -l top-k -d 'Samples from the N likeliest tokens; 0 from all' -r
complete -c launcher -n "__fish_launcher_using_subcommand sample" -l top-p -d 'Samples from the likeliest tokens that together have this probability' -r
complete -c launcher -n "__fish_launcher_using_subcommand sample" -l seed -d 'Seed of the sampling: one seed always gives one text' -r
complete -c launcher -n "__fish_launcher_using_subcommand sample" -l checkpoint -d 'Folder name of the checkpoint; the newest by default' -r
complete -c launcher -n "__fish_launcher_using_subcommand sample" -s h -l help -d 'Print help'
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l config -d 'Config, as the argument takes it, too' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l checkpoint -d 'Folder of the checkpoint; by default the newest of the run' -r
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l set -d 'Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text' -r
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l backend -d 'Backend that starts the ranks (launch.backend)' -r -f -a "local\t'This machine: mpirun for several ranks'
mpirun\t'Many hosts: mpirun over ssh'
kubernetes\t'A Kubernetes cluster with the MPI operator: an MPIJob for each attempt'
slurm\t'Slurm: submits itself as a batch job outside an allocation; inside one, its nodes are the hosts'"
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l ranks -d 'Number of ranks (launch.ranks)' -r
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l hosts -d 'Hosts for the ranks, each with its number of ranks: a:8,b:8 (launch.hosts)' -r
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l hostfile -d 'File that lists the hosts, one a line: node-1 slots=8 (launch.hostfile)' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l ranks-per-node -d 'Ranks on each host for which the list gives no number (launch.ranks_per_node)' -r
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l threads-per-rank -d 'Compute threads of each rank; 0 shares the cores evenly (launch.threads_per_rank)' -r
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l tasks -d 'Tasks, separated by commas; all for those that read official files; text=FILE and documents=FILE for files of your own' -r
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l data -d 'Folder with the tasks\' data files; --list says which file each task reads, and where to get it' -r
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l output -d 'Folder for scores and results; by default evaluations in the run folder of the checkpoint' -r
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l overlap -d 'Looks for the 8-grams of the tasks\' items in training data: a folder of token shards, documents as prepare reads them (with the text in the field "text"), or a filter that --save-filter has written. Prints how many were seen, and the results without the items of which any was. Without a checkpoint or a run, prints the overlap alone' -r
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l save-filter -d 'Saves the filter of the training data to this file, for another --overlap' -r
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l limit -d 'Evaluates only the first N items of each task, and of a task that is one whole text its first N lines' -r
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l shots -d 'Number of other items, with their right answers, in front of each item' -r
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l window -d 'Maximum number of tokens that a window over a text feeds the model; the model\'s context by default' -r
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l stride -d 'Number of tokens that each window over a text but the first predicts; the whole window by default' -r
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l on-long -d 'What to do with an item that is longer than the model\'s context' -r -f -a "refuse\t'Ends with an error that names the item'
truncate\t'Leaves out the beginning of its context, and lists it'
skip\t'Leaves it out of the results, and lists it'"
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l samples -d 'Writes every item to this file, with its text and scores, as JSON lines' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l save-every-s -d 'Seconds of work between saves of scores. What a killed job has saved is not computed again' -r
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l overlap-only -d 'Prints the overlap alone, and reads no checkpoint. A config or a run then says only where ranks run, and the tokenizer'
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l json -d 'Prints the results as JSON'
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l markdown -d 'Prints the table as Markdown'
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l render -d 'Prints what would start the ranks, as `launcher render` does for training, and evaluates nothing'
complete -c launcher -n "__fish_launcher_using_subcommand eval" -l list -d 'Lists all tasks with their data files and sources, and evaluates nothing'
complete -c launcher -n "__fish_launcher_using_subcommand eval" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand check" -l config -d 'Config, as the argument takes it, too' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand check" -l set -d 'Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text' -r
complete -c launcher -n "__fish_launcher_using_subcommand check" -l backend -d 'Backend that starts the ranks (launch.backend)' -r -f -a "local\t'This machine: mpirun for several ranks'
mpirun\t'Many hosts: mpirun over ssh'
kubernetes\t'A Kubernetes cluster with the MPI operator: an MPIJob for each attempt'
slurm\t'Slurm: submits itself as a batch job outside an allocation; inside one, its nodes are the hosts'"
complete -c launcher -n "__fish_launcher_using_subcommand check" -l ranks -d 'Number of ranks (launch.ranks)' -r
complete -c launcher -n "__fish_launcher_using_subcommand check" -l hosts -d 'Hosts for the ranks, each with its number of ranks: a:8,b:8 (launch.hosts)' -r
complete -c launcher -n "__fish_launcher_using_subcommand check" -l hostfile -d 'File that lists the hosts, one a line: node-1 slots=8 (launch.hostfile)' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand check" -l ranks-per-node -d 'Ranks on each host for which the list gives no number (launch.ranks_per_node)' -r
complete -c launcher -n "__fish_launcher_using_subcommand check" -l threads-per-rank -d 'Compute threads of each rank; 0 shares the cores evenly (launch.threads_per_rank)' -r
complete -c launcher -n "__fish_launcher_using_subcommand check" -l output -d 'Run folder, a storage URL or a path (run.output)' -r
complete -c launcher -n "__fish_launcher_using_subcommand check" -l json -d 'Prints a JSON array'
complete -c launcher -n "__fish_launcher_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand status" -l config -d 'Config, as the argument takes it, too' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand status" -l set -d 'Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text' -r
complete -c launcher -n "__fish_launcher_using_subcommand status" -l json -d 'Prints JSON'
complete -c launcher -n "__fish_launcher_using_subcommand status" -s h -l help -d 'Print help'
complete -c launcher -n "__fish_launcher_using_subcommand metrics" -l config -d 'Config, as the argument takes it, too' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand metrics" -l set -d 'Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text' -r
complete -c launcher -n "__fish_launcher_using_subcommand metrics" -l every -d 'Only prints every Nth step, and steps with a validation loss or tasks' -r
complete -c launcher -n "__fish_launcher_using_subcommand metrics" -l from -d 'Begins with this step' -r
complete -c launcher -n "__fish_launcher_using_subcommand metrics" -l to -d 'Ends with this step' -r
complete -c launcher -n "__fish_launcher_using_subcommand metrics" -l csv -d 'Prints CSV: a header, and a line for each step. The default'
complete -c launcher -n "__fish_launcher_using_subcommand metrics" -l json -d 'Prints a JSON array with an object for each step'
complete -c launcher -n "__fish_launcher_using_subcommand metrics" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand stop" -l config -d 'Config, as the argument takes it, too' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand stop" -l set -d 'Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text' -r
complete -c launcher -n "__fish_launcher_using_subcommand stop" -l wait-s -d 'Seconds to wait for the end; 0 asks without waiting' -r
complete -c launcher -n "__fish_launcher_using_subcommand stop" -s h -l help -d 'Print help'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and not __fish_seen_subcommand_from list verify prune copy save help" -s h -l help -d 'Print help'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and not __fish_seen_subcommand_from list verify prune copy save help" -f -a "list" -d 'Lists the committed checkpoints of a run, oldest first'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and not __fish_seen_subcommand_from list verify prune copy save help" -f -a "verify" -d 'Reads every byte of committed checkpoints and compares it with the hashes in their manifests'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and not __fish_seen_subcommand_from list verify prune copy save help" -f -a "prune" -d 'Deletes old checkpoints, and the remains of saves that were cut off more than an hour ago'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and not __fish_seen_subcommand_from list verify prune copy save help" -f -a "copy" -d 'Copies a checkpoint to another run folder, in this store or another one, verified on the way'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and not __fish_seen_subcommand_from list verify prune copy save help" -f -a "save" -d 'Asks a running run, here or elsewhere, for a checkpoint, and waits until it is committed'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and not __fish_seen_subcommand_from list verify prune copy save help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from list" -l config -d 'Config, as the argument takes it, too' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from list" -l set -d 'Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text' -r
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from list" -l all -d 'Also shows what does not count, at the end: never committed, or left behind by a later attempt'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from list" -l json -d 'Prints a JSON array'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from verify" -l config -d 'Config, as the argument takes it, too' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from verify" -l set -d 'Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text' -r
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from verify" -l checkpoint -d 'Verifies only the checkpoint of this folder name; every committed one by default' -r
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from verify" -l json -d 'Prints a JSON array'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from prune" -l config -d 'Config, as the argument takes it, too' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from prune" -l set -d 'Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text' -r
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from prune" -l keep-last -d 'Keeps the newest N checkpoints; 0 keeps all (checkpoint.keep_last)' -r
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from prune" -l keep-every-steps -d 'Also keeps checkpoints at multiples of N steps; 0 keeps none of them (checkpoint.keep_every_steps)' -r
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from prune" -l dry-run -d 'Only prints what would be deleted'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from prune" -l json -d 'Prints JSON'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from copy" -l config -d 'Config, as the argument takes it, too' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from copy" -l set -d 'Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text' -r
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from copy" -l to -d 'Run folder to copy to, a storage URL or a path' -r
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from copy" -l checkpoint -d 'Folder name of the checkpoint to copy; the newest by default' -r
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from copy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from save" -l config -d 'Config, as the argument takes it, too' -r -F
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from save" -l set -d 'Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text' -r
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from save" -l wait-s -d 'Seconds to wait for the checkpoint; 0 asks without waiting' -r
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from save" -s h -l help -d 'Print help'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from help" -f -a "list" -d 'Lists the committed checkpoints of a run, oldest first'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Reads every byte of committed checkpoints and compares it with the hashes in their manifests'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from help" -f -a "prune" -d 'Deletes old checkpoints, and the remains of saves that were cut off more than an hour ago'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from help" -f -a "copy" -d 'Copies a checkpoint to another run folder, in this store or another one, verified on the way'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from help" -f -a "save" -d 'Asks a running run, here or elsewhere, for a checkpoint, and waits until it is committed'
complete -c launcher -n "__fish_launcher_using_subcommand checkpoints; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and not __fish_seen_subcommand_from encode decode train help" -s h -l help -d 'Print help'
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and not __fish_seen_subcommand_from encode decode train help" -f -a "encode" -d 'Encodes the text on standard input as a JSON array of token ids'
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and not __fish_seen_subcommand_from encode decode train help" -f -a "decode" -d 'Decodes the JSON array of token ids on standard input to text: the bytes of the tokens, and nothing else'
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and not __fish_seen_subcommand_from encode decode train help" -f -a "train" -d 'Trains a tokenizer on texts and writes its files: vocab.json, merges.txt, tokenizer.json, tokenizer_config.json'
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and not __fish_seen_subcommand_from encode decode train help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from encode" -l tokenizer -d '`gpt2`, or the path or URL of a tokenizer.json, or of a folder with one or with vocab.json and merges.txt' -r
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from encode" -l jsonl -d 'Takes every line of input as a document: a JSON string to encode, or a JSON array of ids to decode. Each result is a line of output, in the order of the input'
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from encode" -l special -d 'Encodes the text of a special token, such as `<|endoftext|>`, as that token; by default it is ordinary text'
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from encode" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from decode" -l tokenizer -d '`gpt2`, or the path or URL of a tokenizer.json, or of a folder with one or with vocab.json and merges.txt' -r
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from decode" -l jsonl -d 'Takes every line of input as a document: a JSON string to encode, or a JSON array of ids to decode. Each result is a line of output, in the order of the input'
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from decode" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from train" -l vocab-size -d 'Tokens in the vocabulary: the 256 bytes, the special tokens, and what is learned; at most 65,536' -r
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from train" -l output -d 'Folder for the tokenizer\'s files, a storage URL or a path' -r
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from train" -l special -d 'Special token after `<|endoftext|>`, which is always the first; may be repeated' -r
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from train" -l text-field -d 'Field of a JSON line, or column of a Parquet file, that holds the text' -r
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from train" -l on-bad-document -d 'Whether a document that cannot be read ends the job, or is skipped and counted' -r
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from train" -l max-document-bytes -d 'Longest document in bytes; a longer one counts as one that cannot be read, since memory is bounded' -r
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from train" -l most-words -d 'Maximum number of distinct words in memory, about 100 bytes each; beyond that the rarest are dropped and counted' -r
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from train" -l threads -d 'Threads; by default one for each core' -r
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from train" -l json -d 'Prints the result as JSON'
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from train" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from help" -f -a "encode" -d 'Encodes the text on standard input as a JSON array of token ids'
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from help" -f -a "decode" -d 'Decodes the JSON array of token ids on standard input to text: the bytes of the tokens, and nothing else'
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from help" -f -a "train" -d 'Trains a tokenizer on texts and writes its files: vocab.json, merges.txt, tokenizer.json, tokenizer_config.json'
complete -c launcher -n "__fish_launcher_using_subcommand tokenizer; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c launcher -n "__fish_launcher_using_subcommand shards; and not __fish_seen_subcommand_from show verify help" -s h -l help -d 'Print help'
complete -c launcher -n "__fish_launcher_using_subcommand shards; and not __fish_seen_subcommand_from show verify help" -f -a "show" -d 'Shows a data set: totals, tokenizer, and an excerpt as text with the bounds of its documents'
complete -c launcher -n "__fish_launcher_using_subcommand shards; and not __fish_seen_subcommand_from show verify help" -f -a "verify" -d 'Reads every shard of a data set and reports every fault: hashes of files and blocks, headers, sizes, ids, documents'
complete -c launcher -n "__fish_launcher_using_subcommand shards; and not __fish_seen_subcommand_from show verify help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c launcher -n "__fish_launcher_using_subcommand shards; and __fish_seen_subcommand_from show" -l at -d 'Position of the excerpt\'s first token, counted over all shards; in the training data, where there is validation data, too' -r
complete -c launcher -n "__fish_launcher_using_subcommand shards; and __fish_seen_subcommand_from show" -l tokens -d 'Tokens in the excerpt; 0 for none' -r
complete -c launcher -n "__fish_launcher_using_subcommand shards; and __fish_seen_subcommand_from show" -l tokenizer -d 'Tokenizer that made the shards; by default the one that their index names' -r
complete -c launcher -n "__fish_launcher_using_subcommand shards; and __fish_seen_subcommand_from show" -l json -d 'Prints JSON'
complete -c launcher -n "__fish_launcher_using_subcommand shards; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand shards; and __fish_seen_subcommand_from verify" -l tokenizer -d 'Tokenizer that made the shards; by default the one that their index names' -r
complete -c launcher -n "__fish_launcher_using_subcommand shards; and __fish_seen_subcommand_from verify" -l json -d 'Prints JSON'
complete -c launcher -n "__fish_launcher_using_subcommand shards; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand shards; and __fish_seen_subcommand_from help" -f -a "show" -d 'Shows a data set: totals, tokenizer, and an excerpt as text with the bounds of its documents'
complete -c launcher -n "__fish_launcher_using_subcommand shards; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Reads every shard of a data set and reports every fault: hashes of files and blocks, headers, sizes, ids, documents'
complete -c launcher -n "__fish_launcher_using_subcommand shards; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c launcher -n "__fish_launcher_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c launcher -n "__fish_launcher_using_subcommand help; and not __fish_seen_subcommand_from init prepare train render sample eval check status metrics stop checkpoints tokenizer shards completions help" -f -a "init" -d 'Looks at a text and at this machine, and writes a first config for them, to prepare and to train'
complete -c launcher -n "__fish_launcher_using_subcommand help; and not __fish_seen_subcommand_from init prepare train render sample eval check status metrics stop checkpoints tokenizer shards completions help" -f -a "prepare" -d 'Turns documents into shuffled, tokenized shards and their index'
complete -c launcher -n "__fish_launcher_using_subcommand help; and not __fish_seen_subcommand_from init prepare train render sample eval check status metrics stop checkpoints tokenizer shards completions help" -f -a "train" -d 'Starts the run that the config names, or resumes it. A run folder resumes with the config in it'
complete -c launcher -n "__fish_launcher_using_subcommand help; and not __fish_seen_subcommand_from init prepare train render sample eval check status metrics stop checkpoints tokenizer shards completions help" -f -a "render" -d 'Prints exactly what `launcher train` would start the ranks with, without starting anything'
complete -c launcher -n "__fish_launcher_using_subcommand help; and not __fish_seen_subcommand_from init prepare train render sample eval check status metrics stop checkpoints tokenizer shards completions help" -f -a "sample" -d 'Continues a prompt with text from a checkpoint'
complete -c launcher -n "__fish_launcher_using_subcommand help; and not __fish_seen_subcommand_from init prepare train render sample eval check status metrics stop checkpoints tokenizer shards completions help" -f -a "eval" -d 'Evaluates a checkpoint by tasks on any number of ranks, and prints the table beside published figures'
complete -c launcher -n "__fish_launcher_using_subcommand help; and not __fish_seen_subcommand_from init prepare train render sample eval check status metrics stop checkpoints tokenizer shards completions help" -f -a "check" -d 'Checks everything that a run needs, before it is paid for: config, storage, data, hosts, GPUs, network'
complete -c launcher -n "__fish_launcher_using_subcommand help; and not __fish_seen_subcommand_from init prepare train render sample eval check status metrics stop checkpoints tokenizer shards completions help" -f -a "status" -d 'Shows the state of a run, from its folder: its holder, its progress, and how it last ended'
complete -c launcher -n "__fish_launcher_using_subcommand help; and not __fish_seen_subcommand_from init prepare train render sample eval check status metrics stop checkpoints tokenizer shards completions help" -f -a "metrics" -d 'Prints the metrics of a run as CSV or JSON: a row for each step that counts, with its validation loss'
complete -c launcher -n "__fish_launcher_using_subcommand help; and not __fish_seen_subcommand_from init prepare train render sample eval check status metrics stop checkpoints tokenizer shards completions help" -f -a "stop" -d 'Asks a running run, here or elsewhere, to save a checkpoint and end, and waits until it has'
complete -c launcher -n "__fish_launcher_using_subcommand help; and not __fish_seen_subcommand_from init prepare train render sample eval check status metrics stop checkpoints tokenizer shards completions help" -f -a "checkpoints" -d 'Lists, verifies, prunes and copies the checkpoints of a run, and asks for one'
complete -c launcher -n "__fish_launcher_using_subcommand help; and not __fish_seen_subcommand_from init prepare train render sample eval check status metrics stop checkpoints tokenizer shards completions help" -f -a "tokenizer" -d 'Converts text to token ids and back; trains tokenizers'
complete -c launcher -n "__fish_launcher_using_subcommand help; and not __fish_seen_subcommand_from init prepare train render sample eval check status metrics stop checkpoints tokenizer shards completions help" -f -a "shards" -d 'Shows and verifies token shards'
complete -c launcher -n "__fish_launcher_using_subcommand help; and not __fish_seen_subcommand_from init prepare train render sample eval check status metrics stop checkpoints tokenizer shards completions help" -f -a "completions" -d 'Prints what a shell needs to complete commands and options with the Tab key'
complete -c launcher -n "__fish_launcher_using_subcommand help; and not __fish_seen_subcommand_from init prepare train render sample eval check status metrics stop checkpoints tokenizer shards completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c launcher -n "__fish_launcher_using_subcommand help; and __fish_seen_subcommand_from prepare" -f -a "explain" -d 'Prints what became of a document in every stage, and why: source, place, rule, measure and limit'
complete -c launcher -n "__fish_launcher_using_subcommand help; and __fish_seen_subcommand_from checkpoints" -f -a "list" -d 'Lists the committed checkpoints of a run, oldest first'
complete -c launcher -n "__fish_launcher_using_subcommand help; and __fish_seen_subcommand_from checkpoints" -f -a "verify" -d 'Reads every byte of committed checkpoints and compares it with the hashes in their manifests'
complete -c launcher -n "__fish_launcher_using_subcommand help; and __fish_seen_subcommand_from checkpoints" -f -a "prune" -d 'Deletes old checkpoints, and the remains of saves that were cut off more than an hour ago'
complete -c launcher -n "__fish_launcher_using_subcommand help; and __fish_seen_subcommand_from checkpoints" -f -a "copy" -d 'Copies a checkpoint to another run folder, in this store or another one, verified on the way'
complete -c launcher -n "__fish_launcher_using_subcommand help; and __fish_seen_subcommand_from checkpoints" -f -a "save" -d 'Asks a running run, here or elsewhere, for a checkpoint, and waits until it is committed'
complete -c launcher -n "__fish_launcher_using_subcommand help; and __fish_seen_subcommand_from tokenizer" -f -a "encode" -d 'Encodes the text on standard input as a JSON array of token ids'
complete -c launcher -n "__fish_launcher_using_subcommand help; and __fish_seen_subcommand_from tokenizer" -f -a "decode" -d 'Decodes the JSON array of token ids on standard input to text: the bytes of the tokens, and nothing else'
complete -c launcher -n "__fish_launcher_using_subcommand help; and __fish_seen_subcommand_from tokenizer" -f -a "train" -d 'Trains a tokenizer on texts and writes its files: vocab.json, merges.txt, tokenizer.json, tokenizer_config.json'
complete -c launcher -n "__fish_launcher_using_subcommand help; and __fish_seen_subcommand_from shards" -f -a "show" -d 'Shows a data set: totals, tokenizer, and an excerpt as text with the bounds of its documents'
complete -c launcher -n "__fish_launcher_using_subcommand help; and __fish_seen_subcommand_from shards" -f -a "verify" -d 'Reads every shard of a data set and reports every fault: hashes of files and blocks, headers, sizes, ids, documents'
