//! Who may do what with a fleet, and see what of it.

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::server::Server;
use crate::harness::test::{Test, suite};
use crate::harness::wait;
use crate::harness::worker::{Ended, Setting, Worker};

suite![
    a_token_reaches_as_far_as_its_role_and_its_prefix,
    a_secret_in_a_document_is_seen_by_who_may_change_it_alone,
];

/// A fleet that wants tokens, and its administrator.
struct Guarded<'t> {
    test: &'t Test,
    worker: Rc<Worker>,
    admin: String,
}

impl<'t> Guarded<'t> {
    fn new(test: &'t Test) -> Guarded<'t> {
        let store = format!("sqlite://{}/fleet.db", test.folder().display());
        let setting = Setting::plaintext(&test.broker().bootstrap())
            .with("access", json!({"tokens": true}))
            .with("store", json!(store));
        let worker = test.member(&setting);
        let made = Worker::run(
            test.folder(),
            &["tokens", "create", "ops", "--role", "admin", "--store", &store],
        );
        let guarded = Guarded {
            test,
            worker,
            admin: made.output.trim().to_owned(),
        };
        guarded.await_known(&guarded.admin);
        guarded
    }

    fn run(&self, token: &str, arguments: &[&str]) -> Ended {
        let url = self.worker.url();
        Worker::run(
            self.test.folder(),
            &[arguments, &["--url", &url, "--token", token]].concat(),
        )
    }

    fn answer(&self, token: &str, arguments: &[&str]) -> Value {
        let ended = self.run(token, &[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&ended.output).unwrap_or_else(|_| panic!("{arguments:?}: {}{}", ended.output, ended.log))
    }

    fn refused(&self, token: &str, arguments: &[&str], code: &str) -> String {
        let ended = self.run(token, arguments);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {}", ended.output);
        assert!(ended.log.contains(&format!("[{code}]")), "{arguments:?}: {}", ended.log);
        ended.log
    }

    /// A token of a role, for what begins with `pay-`: its id and its secret.
    fn token(&self, role: &str) -> (String, String) {
        let made = self.answer(
            &self.admin,
            &["tokens", "create", role, "--role", role, "--prefix", "pay-"],
        );
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        self.await_known(&text("secret"));
        (text("id"), text("secret"))
    }

    fn await_known(&self, token: &str) {
        wait::until_true("a token to be known", || {
            self.run(token, &["pipelines", "list"]).status.success()
        });
    }
}

fn a_token_reaches_as_far_as_its_role_and_its_prefix(test: &Test) {
    let source = test.topic("in", 1);
    let function = Server::echo();
    let fleet = Guarded::new(test);
    fleet.refused("nobody", &["pipelines", "list"], "unauthenticated");
    let ((viewer_id, viewer), (_, editor)) = (fleet.token("viewer"), fleet.token("editor"));

    let register = |token: &str, name: &str| {
        fleet.run(
            token,
            &["register", &source, &function.url(), "--name", name, "--no-wait"],
        )
    };
    assert!(register(&editor, "pay-in").status.success());
    fleet.refused(&editor, &["pipelines", "pause", "orders"], "forbidden");
    fleet.refused(&viewer, &["pipelines", "pause", "pay-in"], "forbidden");
    fleet.refused(&editor, &["tokens", "list"], "forbidden");
    fleet.refused(&editor, &["audit-log"], "forbidden");
    assert!(register(&fleet.admin, &test.name("other")).status.success());
    let seen = fleet.answer(&viewer, &["pipelines", "list"]);
    let names = seen["pipelines"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|p| p["name"].as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["pay-in"], "a token sees what it reaches");

    assert!(
        fleet
            .run(&fleet.admin, &["tokens", "revoke", &viewer_id])
            .status
            .success()
    );
    wait::within(Duration::from_secs(3), "a revoked token to be refused", || {
        let ended = fleet.run(&viewer, &["pipelines", "list"]);
        ended.log.contains("[unauthenticated]").then_some(())
    });
    let kept = std::fs::read(test.folder().join("fleet.db")).unwrap();
    let bits = editor.rsplit('_').next().unwrap().as_bytes();
    assert!(
        !kept.windows(bits.len()).any(|window| window == bits),
        "only a hash is kept"
    );
}

fn a_secret_in_a_document_is_seen_by_who_may_change_it_alone(test: &Test) {
    let fleet = Guarded::new(test);
    let ((_, viewer), (_, editor)) = (fleet.token("viewer"), fleet.token("editor"));
    let file = test.folder().join("pay.json");
    let file = file.to_str().unwrap();
    let write = |token: &str| {
        let auth = json!({"type": "bearer", "token": token});
        let document = json!({
            "name": "pay-in", "source": {"topics": [test.topic_name("in")]}, "state": "paused",
            "function": {"url": "http://127.0.0.1:9/", "headers": {"x-key": token}, "auth": auth},
        });
        std::fs::write(file, document.to_string()).unwrap();
    };
    for token in ["hunter2", "hunter3"] {
        write(token);
        let applied = fleet.run(&editor, &["apply", "-f", file]);
        assert!(applied.status.success(), "{}", applied.log);
        assert!(!applied.output.contains("hunter"), "{}", applied.output);
    }

    let shown = fleet.answer(&editor, &["pipelines", "show", "pay-in"]);
    assert_eq!(
        shown["function"]["auth"]["token"], "hunter3",
        "it can be read, changed and sent again"
    );
    let seen = fleet.answer(&viewer, &["pipelines", "show", "pay-in"]);
    assert_eq!(seen["function"]["auth"]["token"], "(hidden 1)");
    for arguments in [&["pipelines", "show", "pay-in"], &["pipelines", "history", "pay-in"]] {
        let seen = fleet.answer(&viewer, arguments).to_string();
        assert!(
            seen.contains("(hidden ") && !seen.contains("hunter"),
            "{arguments:?}: {seen}"
        );
    }
    write("hunter4");
    let compared = fleet.run(&viewer, &["apply", "--dry-run", "-f", file]);
    assert!(
        compared.output.contains("function.auth.token"),
        "{}{}",
        compared.output,
        compared.log
    );
    assert!(!compared.output.contains("hunter"), "{}", compared.output);

    write("(hidden 1)");
    let refused = fleet.refused(&editor, &["apply", "-f", file], "invalid_value");
    assert!(
        refused.contains("function.auth.token") && refused.contains("expected the secret"),
        "{refused}"
    );
}
