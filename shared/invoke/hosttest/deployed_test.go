package hosttest

import (
	"os"
	"syscall"
	"testing"

	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest"
)

// TestADeployedHandler hosts a whole handler of package invoke in its own processes.
func TestADeployedHandler(t *testing.T) {
	t.Parallel()
	modes := map[string]string{"envelope": plainHost, "forwarded": withFlag("enableForwardingHttpRequest"), "proxied": withFlag("enableProxyingHttpRequest")}
	for mode, host := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPost(t, servicebustest.Options{Queues: []servicebustest.Queue{{Name: "copy", Sessions: true}}})
			s := newStage(t, host, map[string]string{"copyshard": busFunction("copy", true, "binary"), "wake": tick, "status": waves}, nil)
			s.env[directorSetting], s.env["Bus"] = "none", p.server.ConnectionString()
			h := s.ready()

			if got := do(t, "GET", h.URL()+"/api/waves/w-1", nil); got.code != 202 || got.body != `{"wave":"w-1","method":"GET"}` || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("answer %+v", got)
			}
			if err := h.Fire(t.Context(), "wake"); err != nil {
				t.Error(err)
			}
			done := func() bool { return p.server.Counts("copy") == servicebustest.Counts{} }
			p.send("copy", letter("1", "a", "fine"), letter("2", "b", "panic"))
			eventually(t, "completed", done)
			s.log.await(t, `\"outcome\":\"panic\"`, 1)
			p.send("copy", letter("3", "c", "crash"))
			eventually(t, "completed", done)
			s.log.await(t, "exited with code 3 (0x3)", 1)
			s.log.await(t, `\"id\":\"3\",\"session\":\"c\",\"delivery\":2`, 1)

			for _, q := range h.Processes() {
				if q.Group == "function:wake" {
					proc, _ := os.FindProcess(q.PID)
					if err := proc.Signal(syscall.SIGTERM); err != nil {
						t.Fatal(err)
					}
				}
			}
			s.log.await(t, "Language Worker Process exited and needs to be restarted.", 1) // exit code 200
			if err := h.Fire(t.Context(), "wake"); err != nil {
				t.Error(err)
			}
			if h.Err() != nil {
				t.Error(h.Err())
			}
		})
	}
}
