package hosttest

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"
)

// maxLine bounds one line of a handler's output; what is longer comes as several lines.
const maxLine = 1 << 20

// process is one run of the handler's executable.
type process struct {
	cmd      *exec.Cmd
	disposed atomic.Bool   // the host has let go of it; its end means nothing
	exited   chan struct{} // closed at the end; output may still be read
	code     int           // set before exited is closed
}

// startProcess runs the executable for one scale group on a port.
func (h *Host) startProcess(group string, port int) (*process, error) {
	id := uuid.NewString()
	cmd := exec.Command(h.options.executable, h.options.args...)
	cmd.Dir = h.options.workDir
	cmd.Env = environment(h.config, port, id)
	separate(cmd)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go h.readLines(group, stdout, func(string) slog.Level { return slog.LevelInfo })
	go h.readLines(group, stderr, h.stderrLevel)
	go func() {
		end, err := cmd.Process.Wait()
		p.code = exitCode(end, err)
		close(p.exited)
	}()
	return p, nil
}

// environment is what the handler sees: the app settings and the host's five variables.
func environment(c Config, port int, id string) []string {
	env := map[string]string{}
	for k, v := range c.Env {
		env[k] = v
	}
	env["FUNCTIONS_CUSTOMHANDLER_PORT"] = strconv.Itoa(port)
	env["FUNCTIONS_CUSTOMHANDLER_WORKER_ID"] = id
	env["FUNCTIONS_HTTPWORKER_PORT"] = strconv.Itoa(port)
	env["FUNCTIONS_HTTPWORKER_ID"] = id
	env["FUNCTIONS_APP_ROOT_PATH"] = c.Root
	var list []string
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return list
}

// exitCode is the code as .NET reports it: 128 + signal for a process that a signal ended.
func exitCode(end *os.ProcessState, err error) int {
	if err != nil {
		return -1
	}
	if end.ExitCode() < 0 {
		return 128 + signalOf(end)
	}
	return end.ExitCode()
}

// kill sends SIGKILL, the only signal the host knows, and waits a second for the end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	select {
	case <-p.exited:
	case <-clockwork.NewRealClock().After(time.Second):
	}
}

// peak returns the most resident memory the process has had, in bytes; 0 where the system does not say.
func (p *process) peak() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseInt(fields[0], 10, 64)
	return kib << 10
}

func (h *Host) stderrLevel(line string) slog.Level {
	has := func(s string) bool { return strings.Contains(strings.ToLower(line), s) }
	switch {
	case has("warn"):
		return slog.LevelWarn
	case h.options.errorsOnly || has("error") || has("fail") || has("severe") || has("unhandled exception"):
		return slog.LevelError
	}
	return slog.LevelInfo
}

// readLines logs what a handler prints. A prefix sends a line to the host's own log or to tools.
func (h *Host) readLines(group string, r io.ReadCloser, level func(string) slog.Level) {
	defer r.Close()
	b := bufio.NewReaderSize(r, maxLine)
	for {
		raw, _, err := b.ReadLine()
		if err != nil {
			return
		}
		line, category := string(raw), "Host.Function.Console"
		if rest, ok := strings.CutPrefix(line, "LanguageWorkerConsoleLog"); ok {
			line, category = rest, "Worker"
		} else if strings.HasPrefix(line, "azfuncjsonlog:") {
			category = "Host.Function.ToolingConsoleLog"
		}
		h.note(level(line), category, line, slog.String("group", group))
	}
}

// freePort returns a port of 127.0.0.1 that nobody listens on now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
