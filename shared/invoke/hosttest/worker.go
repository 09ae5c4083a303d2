package hosttest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

const (
	pollEvery    = 25 * time.Millisecond
	maxStrikes   = 3
	strikeMemory = 30 * time.Minute
)

// Errors that end a host. They carry the words the host logs.
var (
	ErrStrikes = errors.New("Exceeded http worker restart retry count. Shutting down Functions Host") //nolint:staticcheck // the host's words
	ErrNoStart = errors.New("Initialization timed out and host is shutting down")                     //nolint:staticcheck // the host's words
)

// state is where a worker is in its life; the words stand in the host's log.
type state string

const (
	initializing state = "Initializing"
	initialized  state = "Initialized"
	restarting   state = "WorkerProcessRestarting"
	stopped      state = "Disposed"
)

// worker keeps one handler process running: the custom handler of one instance of the app.
//
//	exit 0            nothing: the port stays dead, and every invocation fails
//	exit 200          started again, not counted
//	any other exit    a strike, started again at once
//	not ready in 30 s a strike
//	functionTimeout   killed and started again, not counted
//	third strike, each within 30 minutes of the one before: the host stops
type worker struct {
	host   *Host
	group  string
	port   int
	client *http.Client

	mu         sync.Mutex
	state      state
	changed    chan struct{} // closed and replaced when state changes
	proc       *process
	strikes    int
	lastStrike time.Time
	restarts   int
	ready      time.Duration
	peak       int64
}

func (h *Host) newWorker(group string) (*worker, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	w := &worker{host: h, group: group, port: port, state: initializing, changed: make(chan struct{})}
	w.client = &http.Client{
		Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100},
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if h.options.forward || len(via) >= 50 {
				return http.ErrUseLastResponse
			}
			return nil // as GET after 301 and 302, which is what a handler's own mux may answer
		},
	}
	return w, nil
}

func (w *worker) url(path string) string {
	return "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(w.port)) + path
}

func (w *worker) become(s state) {
	w.state = s
	close(w.changed)
	w.changed = make(chan struct{})
}

// start runs the executable. When that fails no event reaches the dispatcher: the state stays, invocations
// wait, and the host stops when they have waited too long.
func (w *worker) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.startLocked()
}

func (w *worker) startLocked() {
	if w.state == stopped {
		return
	}
	p, err := w.host.startProcess(w.group, w.port)
	if err != nil {
		w.host.note(slog.LevelError, "Host.Startup", "Failed to start Worker Channel. Process fileName: "+w.host.options.executable,
			slog.String("group", w.group), slog.Any("error", err))
		return
	}
	w.proc = p
	w.host.note(slog.LevelDebug, "Host.Startup", fmt.Sprintf("Starting worker process with FileName:%s", w.host.options.executable),
		slog.String("group", w.group), slog.Int("pid", p.cmd.Process.Pid))
	ctx, cancel := context.WithCancel(w.host.ctx)
	go func() { w.awaitReady(ctx, p); cancel() }()
	go func() { w.awaitExit(p); cancel() }()
}

// awaitReady asks GET / every 25 ms until anything answers HTTP, for as long as the start may take. The polls
// and the measured time are of this machine, the limit is of the host's clock.
func (w *worker) awaitReady(ctx context.Context, p *process) {
	machine := clockwork.NewRealClock()
	begin, limit := machine.Now(), w.host.clock.NewTimer(w.host.options.initialization)
	defer limit.Stop()
	for !w.answers(ctx) {
		select {
		case <-ctx.Done():
			return
		case <-limit.Chan():
			w.strike(p, errors.New("Initializing HttpWorker timed out.")) //nolint:staticcheck // the host's words
			return
		case <-machine.After(pollEvery):
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.proc == p && !p.disposed.Load() && ctx.Err() == nil {
		w.ready = machine.Since(begin)
		w.become(initialized)
		w.host.note(slog.LevelInfo, "Host.Startup", "Worker process started and initialized.",
			slog.String("group", w.group), slog.Int("pid", p.cmd.Process.Pid), slog.Float64("seconds", w.ready.Seconds()))
	}
}

// answers says whether the handler's port speaks. Only a refused connection means not yet.
func (w *worker) answers(ctx context.Context) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url("/"), nil)
	if err != nil {
		return false
	}
	resp, err := w.client.Do(r)
	if err == nil {
		resp.Body.Close()
		return true
	}
	var op *net.OpError
	return ctx.Err() == nil && !(errors.As(err, &op) && op.Op == "dial")
}

func (w *worker) awaitExit(p *process) {
	<-p.exited
	if p.disposed.Load() {
		return
	}
	w.host.note(slog.LevelDebug, "Host.Startup", fmt.Sprintf("Process %d has exited with code %d.", p.cmd.Process.Pid, p.code), slog.String("group", w.group))
	switch p.code {
	case 0:
	case 200:
		w.host.note(slog.LevelInfo, "Host.Startup", "Language Worker Process exited and needs to be restarted.", slog.String("group", w.group))
		w.restart(p)
	default:
		w.strike(p, fmt.Errorf("%s exited with code %d (0x%X)", w.host.options.executable, p.code, p.code))
	}
}

// strike counts a failure of p and starts the next process, or stops the host.
func (w *worker) strike(p *process, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.proc != p || p.disposed.Load() || w.state == stopped {
		return
	}
	w.host.note(slog.LevelError, "Host.Startup", fmt.Sprintf("Language Worker Process exited. Pid=%d.", p.cmd.Process.Pid),
		slog.String("group", w.group), slog.Any("error", why))
	now := w.host.clock.Now()
	if now.Sub(w.lastStrike) > strikeMemory {
		w.strikes = 0
	}
	w.strikes, w.lastStrike = w.strikes+1, now
	w.replaceLocked(p)
}

// restart replaces p without counting it.
func (w *worker) restart(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.proc == p && !p.disposed.Load() && w.state != stopped {
		w.replaceLocked(p)
	}
}

func (w *worker) replaceLocked(p *process) {
	w.become(restarting)
	w.disposeLocked(p)
	if w.strikes >= maxStrikes {
		w.host.note(slog.LevelError, "Host.Startup", ErrStrikes.Error(), slog.String("group", w.group))
		go w.host.shutdown(fmt.Errorf("%s: %w", w.group, ErrStrikes))
		return
	}
	w.restarts++
	w.startLocked()
}

func (w *worker) disposeLocked(p *process) {
	w.peak = max(w.peak, p.peak())
	p.disposed.Store(true)
	p.kill()
	w.client.CloseIdleConnections()
}

// stop kills the process for good.
func (w *worker) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == stopped {
		return
	}
	w.become(stopped)
	if w.proc != nil {
		w.disposeLocked(w.proc)
	}
}

// await returns the process to send an invocation to. While there is none it waits, at most for the starts of
// four processes; then the host stops.
func (w *worker) await(ctx context.Context) (*process, error) {
	limit := w.host.clock.NewTimer((maxStrikes + 1) * w.host.options.initialization)
	defer limit.Stop()
	for {
		w.mu.Lock()
		s, p, changed := w.state, w.proc, w.changed
		w.mu.Unlock()
		switch s {
		case initialized:
			return p, nil
		case stopped:
			return nil, errors.New("host is stopped")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-limit.Chan():
			err := fmt.Errorf("%s: Final functionDispatcher state: %s. %w", w.group, s, ErrNoStart)
			w.host.note(slog.LevelError, "Host.Startup", err.Error())
			go w.host.shutdown(err)
			return nil, err
		}
	}
}

// becomeReady waits until the worker is initialized, without the consequences of await.
func (w *worker) becomeReady(ctx context.Context) error {
	for {
		w.mu.Lock()
		s, changed := w.state, w.changed
		w.mu.Unlock()
		switch s {
		case initialized:
			return nil
		case stopped:
			return errors.New("host is stopped")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// notice gives the end of p, which has broken a connection, a moment to be seen. A message that fails comes
// back here within a millisecond, at the service long after the process is known to have gone.
func (w *worker) notice(p *process) {
	patience := clockwork.NewRealClock().After(200 * time.Millisecond)
	select {
	case <-p.exited:
	case <-patience:
		return
	}
	for p.code != 0 {
		w.mu.Lock()
		gone, changed := w.proc != p || w.state != initialized, w.changed
		w.mu.Unlock()
		if gone {
			return
		}
		select {
		case <-changed:
		case <-patience:
			return
		}
	}
}

// kill ends the process from outside, as a crash would.
func (w *worker) kill() {
	w.mu.Lock()
	p := w.proc
	w.mu.Unlock()
	if p != nil {
		w.mu.Lock()
		w.peak = max(w.peak, p.peak())
		w.mu.Unlock()
		_ = p.cmd.Process.Kill() // it may have ended already
		<-p.exited
	}
}

// Process is one handler process of a scale group, or the place of one that is being started.
type Process struct {
	Group    string // "http" or "function:<name>"
	PID      int    // 0 when the executable could not be started
	Running  bool
	Ready    time.Duration // from start to the first answer, of the last process that became ready
	PeakRSS  int64         // bytes, the most of all its processes; 0 where the system does not say
	Restarts int
}

func (w *worker) process() Process {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := Process{Group: w.group, Ready: w.ready, Restarts: w.restarts, PeakRSS: w.peak}
	if w.proc != nil {
		out.PID = w.proc.cmd.Process.Pid
		select {
		case <-w.proc.exited:
		default:
			out.Running = true
			w.peak = max(w.peak, w.proc.peak())
			out.PeakRSS = w.peak
		}
	}
	return out
}
