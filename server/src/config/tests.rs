//! The shipped file, and what a wrong one is answered with.

use super::*;

fn bases() -> Bases {
    Bases { config: PathBuf::from("/etc/lipcast"), program: PathBuf::from("/opt/lipcast/bin") }
}

fn problems(text: &str) -> Vec<String> {
    match Config::parse("c.toml", text, &bases()) {
        Ok(_) => Vec::new(),
        Err(error) => error
            .problems
            .iter()
            .map(|p| ConfigError { file: error.file.clone(), problems: vec![p.clone()] }.to_string())
            .collect(),
    }
}

#[test]
fn the_shipped_file_says_the_defaults() {
    let shipped = Config::parse("config.toml", SHIPPED, &bases()).unwrap();
    assert_eq!(shipped, Config::parse("", "", &bases()).unwrap());
}

#[test]
fn the_shipped_file_names_every_key() {
    let reader = Reader::new("config.toml", SHIPPED).unwrap();
    Config::read(&reader, &bases());
    let missing: Vec<_> = reader.asked().into_iter().filter(|key| !reader.has(key)).collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_key_of_the_shipped_file_is_explained() {
    let lines: Vec<_> = SHIPPED.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(lines[index - 1].starts_with('#'), "line {}: {line}", index + 1);
        }
    }
}

#[test]
fn each_problem_has_its_place_and_a_suggestion() {
    let table: &[(&str, &str, &str)] = &[
        (
            "[server]\nbinnd = \"127.0.0.1:1\"",
            "c.toml:2:1: server.binnd: unknown key",
            "did you mean `bind`?",
        ),
        ("[sever]\nbind = \"x\"", "c.toml:1:2: sever: unknown key", "did you mean `server`?"),
        ("[server]\nbind = 8000", "c.toml:2:8: server.bind: expected text in quotes, found integer", ""),
        (
            "[server]\nbind = \"localhost\"",
            "c.toml:2:8: server.bind: \"localhost\" is not an address with a port",
            "127.0.0.1:8000",
        ),
        (
            "[server]\nbind = \"0.0.0.0:80\"",
            "c.toml:2:8: server.bind: 0.0.0.0 can be reached from other machines, and no token is set",
            "server.open = true",
        ),
        (
            "[server]\nopen = \"true\"",
            "c.toml:2:8: server.open: expected true or false, found string",
            "without quotes",
        ),
        (
            "[server]\ntokens = [\"hunter2\"]",
            "c.toml:2:11: server.tokens: a token of 7 characters can be guessed",
            "openssl rand",
        ),
        (
            "[server]\ntokens = \"0123456789abcdef\"",
            "c.toml:2:10: server.tokens: expected a list, found string",
            "brackets",
        ),
        (
            "[engine]\nbackends = [\"a\\nb\"]",
            "c.toml:2:12: engine.backends: \"a\\nb\" is no name of a backend",
            "letters",
        ),
        ("[server]\nmax_sessions = 0", "c.toml:2:16: server.max_sessions: 0 is outside of 1 to 10000", ""),
        ("[server]\nmax_body = \"1MB\"", "c.toml:2:12: server.max_body: not a number of bytes", "MiB"),
        (
            "[server]\nrequest_timeout = 30",
            "c.toml:2:19: server.request_timeout: expected a length of time, found integer",
            "30s",
        ),
        (
            "[server]\ncors = [\"example.org\"]",
            "c.toml:2:9: server.cors: \"example.org\" is not an origin",
            "https://",
        ),
        (
            "[server.tls]\ncert = \"a.pem\"",
            "c.toml:2:8: server.tls.cert: `cert` is set, but `key` is not",
            "both",
        ),
        (
            "[server.tls]\ncert = \"no.pem\"\nkey = \"/dev/null\"",
            "c.toml:2:8: server.tls.cert: /etc/lipcast/no.pem: No such file",
            "",
        ),
        (
            "[media]\nroots = [\"nowhere\"]",
            "c.toml:2:10: media.roots: /etc/lipcast/nowhere is not a folder",
            "configuration file",
        ),
        (
            "[media]\nroots = [{ path = \"/\", prefx = \"a\" }]",
            "c.toml:2:10: media.roots: unknown key `prefx`",
            "`prefix`",
        ),
        (
            "[engine]\nbackends = [\"demmo\"]",
            "c.toml:2:12: engine.backends: there is no [backend.demmo]",
            "\"demo\"",
        ),
        (
            "[engine]\nbackends = [\"demo\", \"demo\"]",
            "c.toml:2:12: engine.backends: \"demo\" is named twice",
            "",
        ),
        (
            "[backend.demo]\nisolation = \"proces\"",
            "c.toml:2:13: backend.demo.isolation: \"proces\"",
            "process",
        ),
        (
            "[backend.onnx]\nrequired = true",
            "c.toml:1:1: backend.onnx.library: `library` is missing",
            "liblipcast_onnx.so",
        ),
        (
            "[backend.x]\nkind = \"exec\"",
            "c.toml:1:1: backend.x.command: kind \"exec\" needs `command`",
            "backend.py",
        ),
        (
            "[backend.x]\nkind = \"exe\"\nlibrary = \"a.so\"",
            "c.toml:2:8: backend.x.kind: \"exe\" is not one of \"library\", \"exec\"",
            "did you mean \"exec\"?",
        ),
        (
            "[backend.x]\nkind = \"library\"\ncommand = [\"a\"]",
            "c.toml:2:8: backend.x.kind: `command` is for kind \"exec\"",
            "kind = \"exec\"",
        ),
        (
            "[backend.x]\nplugin = \"x\"\nlibrary = \"a.so\"",
            "c.toml:2:10: backend.x.plugin: `library`, `command` and `plugin` exclude each other",
            "keep one",
        ),
        (
            "[backend.x]\ncommand = [\"x\"]\npreload = [\"a.so\"]",
            "c.toml:3:11: backend.x.preload: `preload` is for kind \"library\"",
            "",
        ),
        (
            "[backend.x]\nplugin = \"../x\"\nlibrary = \"a.so\"",
            "c.toml:2:10: backend.x.plugin: \"../x\" is not the name of a folder",
            "",
        ),
        (
            "[backend]\ndemo = 3",
            "c.toml:2:8: backend.demo: expected a table, found integer",
            "[backend.demo]",
        ),
        ("[backend.demo.config]\ngain = nan", "c.toml:2:8: backend.demo.config: inf and nan", ""),
        (
            "[webrtc]\ncodecs = [\"h265\"]",
            "c.toml:2:11: webrtc.codecs: \"h265\" is not one of \"h264\", \"vp8\"",
            "did you mean \"h264\"?",
        ),
        ("[log]\nlevel = \"info,x=loud\"", "c.toml:2:9: log.level:", "info"),
        ("[server\nbind = 1", "c.toml:1:", ""),
        ("[log]\nformat = \"text\"\nformat = \"json\"", "c.toml:3:1: duplicate key `format`", ""),
    ];
    for (text, start, help) in table {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        assert!(found[0].starts_with(start), "{text}\n  want {start}\n  got  {}", found[0]);
        assert!(found[0].contains(help), "{text}\n  want {help}\n  got  {}", found[0]);
    }
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let found = problems("[log]\nlevel = 3\n[server]\nbind = 1\nopne = true\n[session]\nmax_queued = -1");
    let places: Vec<_> = found.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["c.toml:2:9", "c.toml:4:8", "c.toml:5:1", "c.toml:7:14"]);
}

#[test]
fn other_addresses_are_served_when_somebody_said_so() {
    for extra in ["open = true", "tokens = [\"0123456789abcdef\"]"] {
        let text = format!("[server]\nbind = \"[::]:8000\"\n{extra}");
        assert_eq!(problems(&text), Vec::<String>::new());
    }
}

#[test]
fn a_backend_gets_its_table_as_json() {
    let text = "[engine]\nbackends = [\"x\", \"demo\"]\n[backend.x]\nlibrary = \"libx.so\"\n\
                [backend.x.config]\nmodel = \"m.onnx\"\nthreads = 2\nnested = { gain = 0.5, list = [true] }";
    let config = Config::parse("c.toml", text, &bases()).unwrap();
    assert_eq!(config.engine.backends[0].name, "x");
    assert_eq!(
        config.engine.backends[0].config,
        serde_json::json!({"model": "m.onnx", "threads": 2, "nested": {"gain": 0.5, "list": [true]}})
    );
    assert_eq!(config.engine.backends[0].source, BackendSource::Library("libx.so".into()));
    assert_eq!(config.engine.plugin_dirs[0], Path::new("/opt/lipcast/bin/plugins"));
}

#[test]
fn libraries_before_a_library_start_at_the_file() {
    let text = "[engine]\nbackends = [\"a\"]\n\
                [backend.a]\nplugin = \"a\"\npreload = [\"libx.so\", \"../y/liby.so\", \"/opt/libz.so\"]";
    let config = Config::parse("c.toml", text, &bases()).unwrap();
    let backend = &config.engine.backends[0];
    let expected = ["/etc/lipcast/libx.so", "/etc/lipcast/../y/liby.so", "/opt/libz.so"].map(PathBuf::from);
    assert_eq!(backend.preload, expected);
    assert_eq!(backend.folder, Path::new("/etc/lipcast"));
}

#[test]
fn a_backend_is_a_library_a_command_or_a_plugin_folder() {
    let text = "[engine]\nbackends = [\"a\", \"b\", \"c\", \"demo\"]\n\
                [backend.a]\nlibrary = \"here/liba.so\"\n\
                [backend.b]\ncommand = [\"python3\", \"backend.py\"]\n\
                [backend.c]\nplugin = \"talker\"";
    let config = Config::parse("c.toml", text, &bases()).unwrap();
    let sources: Vec<_> = config.engine.backends.into_iter().map(|backend| backend.source).collect();
    let command = ["python3", "backend.py"].map(str::to_owned).to_vec();
    assert_eq!(
        sources,
        [
            BackendSource::Library("/etc/lipcast/here/liba.so".into()),
            BackendSource::Exec { command, folder: "/etc/lipcast".into() },
            BackendSource::Folder("talker".into()),
            BackendSource::Library("liblipcast_demo.so".into()),
        ]
    );
}

#[test]
fn secrets_do_not_show() {
    let text = "[server]\ntokens = [\"0123456789abcdef\"]";
    let config = Config::parse("c.toml", text, &bases()).unwrap();
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
}
