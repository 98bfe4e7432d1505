//! The command line as a value.

use clap::{Args, CommandFactory, Parser, Subcommand};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Kubernetes in one binary.
#[derive(Debug, Parser)]
#[command(name = "ironclad", version, about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be asked of the binary.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a whole cluster on this machine, in the foreground
    Up(Up),
    /// Stop a cluster's containers; with --purge, remove everything it left
    Down(Down),
    /// Start the control plane alone, without a node
    Server(Up),
    /// Start a node alone, for a server that runs elsewhere
    Agent(Agent),
    /// Print the line by which another machine joins
    Token(Token),
    /// Import, pull, list and remove container images
    #[command(subcommand)]
    Image(Image),
    /// Say what this machine lacks, and what that costs
    Check,
    /// Print a cluster's kubeconfig, or merge it into a file
    Kubeconfig(Kubeconfig),
    /// Print the version of the binary and of the API
    Version,
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Show a cluster at work: three replicas, a service, an update under load
    Demo(Demo),
}

/// Which cluster a command means.
#[derive(Clone, Debug, Args)]
pub(crate) struct Cluster {
    /// Where the cluster keeps everything [default: /var/lib/ironclad, or ~/.local/share/ironclad without root]
    #[arg(long, value_name = "DIR", env = "IRONCLAD_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Where the API listens [default: 127.0.0.1:6443, or the next free port for a new cluster]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Also write the kubeconfig into this file, beside what is there
    #[arg(long, value_name = "FILE")]
    pub(crate) write_kubeconfig: Option<PathBuf>,
    /// Run no node here: the control plane alone
    #[arg(long)]
    pub(crate) no_node: bool,
    /// Read settings from a YAML or JSON file; flags win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Remove every process, mount, interface, cgroup, rule and file of the cluster
    #[arg(long)]
    pub(crate) purge: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Agent {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// The server's address; needed to join
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// What `ironclad token` printed; needed to join
    #[arg(long, value_name = "TOKEN", env = "IRONCLAD_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Join with a kubeconfig instead: the server's address, its authority, and this node's or a bootstrap user's credentials
    #[arg(long, value_name = "FILE", conflicts_with_all = ["server", "token"])]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// This node's name [default: the machine's host name]
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// The address by which others reach this machine [default: the one from which it reaches the server]
    #[arg(long, value_name = "ADDR")]
    pub(crate) node_ip: Option<Ipv4Addr>,
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// How long the token may be used; 0 for ever
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub(crate) ttl: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// Load an OCI or docker archive
    Import {
        #[command(flatten)]
        cluster: Cluster,
        /// The archive; - is standard input
        file: PathBuf,
    },
    /// Pull an image from its registry
    Pull {
        #[command(flatten)]
        cluster: Cluster,
        /// Name with tag or digest
        reference: String,
        /// User and password for the registry; better given by the variable, which other users can't read
        #[arg(long, value_name = "USER:PASSWORD", env = "IRONCLAD_PULL_CREDS", hide_env_values = true)]
        creds: Option<String>,
    },
    /// List the images
    List {
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Remove an image
    Remove {
        #[command(flatten)]
        cluster: Cluster,
        /// Name or id
        reference: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Kubeconfig {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Merge it into this file instead of printing it
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// The kubectl that the demo calls
    #[arg(long, value_name = "FILE", default_value = "kubectl")]
    pub(crate) kubectl: PathBuf,
    /// Keep nothing running: show, clean up and leave
    #[arg(long)]
    pub(crate) once: bool,
}

/// A completion script.
pub(crate) fn completion(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ironclad", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
