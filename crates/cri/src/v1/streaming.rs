//! Commands run in containers, attachments, forwarded ports.

messages! {
    ExecSyncRequest {
        1 container_id: String [string];
        2 cmd: Vec<String> [string, repeated];
        3 timeout: i64 [int64];
    }
    ExecSyncResponse {
        1 stdout: Vec<u8> [bytes = "vec"];
        2 stderr: Vec<u8> [bytes = "vec"];
        3 exit_code: i32 [int32];
    }
    ExecRequest {
        1 container_id: String [string];
        2 cmd: Vec<String> [string, repeated];
        3 tty: bool [bool];
        4 stdin: bool [bool];
        5 stdout: bool [bool];
        6 stderr: bool [bool];
    }
    ExecResponse {
        1 url: String [string];
    }
    AttachRequest {
        1 container_id: String [string];
        2 stdin: bool [bool];
        3 tty: bool [bool];
        4 stdout: bool [bool];
        5 stderr: bool [bool];
    }
    AttachResponse {
        1 url: String [string];
    }
    PortForwardRequest {
        1 pod_sandbox_id: String [string];
        2 port: Vec<i32> [int32, repeated];
    }
    PortForwardResponse {
        1 url: String [string];
    }
}
