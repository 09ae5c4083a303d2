package hosttest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
)

// Config says what to host and how.
type Config struct {
	Root string            // the package: host.json, the executable, one folder per function
	Env  map[string]string // app settings; the handler's processes see them and nothing else of the environment

	Listen    string          // address for HTTP, 127.0.0.1 on a free port when empty
	Key       string          // function key, random when empty
	MasterKey string          // for /admin, random when empty
	Clock     clockwork.Clock // real when nil; must be the Service Bus server's, which dates the locks
	Log       *slog.Logger    // host and handler output; none when nil
	Statuses  Statuses        // of the timers; in memory when nil

	// Counts returns the active messages of a queue. With it, a Service Bus function gets
	// ceil(messages / target) instances, at least 1 and at most MaxInstances, where target is what one
	// instance takes at once.
	Counts       func(queue string) int
	MaxInstances int // 1 when 0
	CPUs         int // maxConcurrentCalls defaults to 16 of each; this machine's when 0
}

// scaleEvery is how often the number of instances is looked at.
const scaleEvery = 10 * time.Second

// Host is a running host. It is safe for concurrent use.
type Host struct {
	config   Config
	options  options
	clock    clockwork.Clock
	statuses Statuses

	functions []*function
	errs      []error // functions left out
	groups    []*group
	server    *http.Server
	url       string

	ctx       context.Context // of invocations; ends when the host has let go of its processes
	cancel    context.CancelFunc
	listening context.Context // of triggers
	deafen    context.CancelFunc
	running   sync.WaitGroup // triggers
	calls     atomic.Int64   // invocations under way
	stopping  sync.Once
	done      chan struct{}
	err       error // set before done is closed
}

// Start hosts the package at c.Root. It returns when HTTP is served and the processes are started, not when
// they are ready. Functions in error are left out, see [Host.FunctionErrors]. ctx bounds the start only.
func Start(ctx context.Context, c Config) (*Host, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	settings, err := readHostSettings(c.Root, c.Env)
	if err != nil {
		return nil, err
	}
	h := &Host{config: c, clock: c.Clock, statuses: c.Statuses, done: make(chan struct{})}
	if h.options, err = readOptions(settings, c); err != nil {
		return nil, err
	}
	h.ctx, h.cancel = context.WithCancel(context.WithoutCancel(ctx))
	h.listening, h.deafen = context.WithCancel(h.ctx)
	if err := h.load(); err != nil {
		h.cancel()
		return nil, err
	}
	if err := h.open(ctx); err != nil {
		return nil, err
	}
	return h, nil
}

func (c Config) withDefaults() (Config, error) {
	root, err := filepath.Abs(c.Root)
	if err != nil {
		return c, fmt.Errorf("find package: %w", err)
	}
	c.Root = root
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	for _, key := range []*string{&c.Key, &c.MasterKey} {
		if *key == "" {
			*key = rand.Text()
		}
	}
	if c.Clock == nil {
		c.Clock = clockwork.NewRealClock()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Statuses == nil {
		c.Statuses = &MemoryStatuses{}
	}
	c.MaxInstances = max(c.MaxInstances, 1)
	if c.CPUs == 0 {
		c.CPUs = runtime.NumCPU()
	}
	return c, nil
}

// load reads the functions and makes their scale groups.
func (h *Host) load() error {
	h.functions, h.errs = discover(h.config, h.options)
	for _, err := range h.errs {
		h.note(slog.LevelError, "Host.Startup", err.Error())
	}
	if len(h.functions) == 0 {
		return errors.Join(append([]error{errors.New("no job functions found")}, h.errs...)...)
	}
	byName := map[string]*group{}
	for _, f := range h.functions {
		if f.is("serviceBusTrigger") {
			if _, err := f.connection(h.config.Env); err != nil {
				return fmt.Errorf("function %s: %w", f.name, err)
			}
		}
		g := byName[f.group()]
		if g == nil {
			g = &group{host: h, name: f.group()}
			byName[g.name] = g
			h.groups = append(h.groups, g)
		}
		g.functions = append(g.functions, f)
	}
	return nil
}

// open serves HTTP and starts an instance of every group.
func (h *Host) open(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", h.config.Listen)
	if err != nil {
		return fmt.Errorf("listen for HTTP: %w", err)
	}
	h.url = "http://" + l.Addr().String()
	h.server = &http.Server{Handler: http.HandlerFunc(h.front), ReadHeaderTimeout: 30 * time.Second}
	for _, g := range h.groups {
		if err := g.scale(1); err != nil {
			h.shutdown(err)
			return errors.Join(err, l.Close())
		}
	}
	go func() { _ = h.server.Serve(l) }() // ends when the host does
	if h.config.Counts != nil && h.config.MaxInstances > 1 {
		h.running.Go(h.watchLoad)
	}
	return nil
}

// group is one scale group: the functions that share instances, and its instances.
type group struct {
	host      *Host
	name      string
	functions []*function

	mu        sync.Mutex
	instances []*instance
}

// instance is one instance of the app: a handler process and the triggers that feed it.
type instance struct {
	w     *worker
	stop  context.CancelFunc // of its triggers
	timer *timer             // nil but for a timer
	idle  chan struct{}      // closed when its triggers have ended
}

// scale adds or removes instances until there are n. A removed instance ends what it is doing.
func (g *group) scale(n int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.instances) < n {
		i, err := g.host.newInstance(g.functions)
		if err != nil {
			return err
		}
		g.instances = append(g.instances, i)
	}
	for len(g.instances) > n {
		last := len(g.instances) - 1
		i := g.instances[last]
		g.instances = g.instances[:last]
		i.stop()
		g.host.running.Go(func() { <-i.idle; i.w.stop() })
	}
	return nil
}

func (h *Host) newInstance(functions []*function) (*instance, error) {
	w, err := h.newWorker(functions[0].group())
	if err != nil {
		return nil, err
	}
	i := &instance{w: w, idle: make(chan struct{})}
	ctx, stop := context.WithCancel(h.listening)
	i.stop = stop
	w.start()
	f, pastDue := functions[0], false
	if f.is("timerTrigger") {
		i.timer = &timer{host: h, f: f, w: w}
		pastDue = i.timer.restore()
	}
	h.running.Go(func() {
		defer close(i.idle)
		switch {
		case i.timer != nil:
			i.timer.run(ctx, pastDue)
		case f.is("serviceBusTrigger"):
			if err := h.listen(ctx, f, w); err != nil {
				h.note(slog.LevelError, "Host.Triggers.ServiceBus", fmt.Sprintf("The listener for function 'Functions.%s' was unable to start or stop.", f.name), slog.Any("error", err))
			}
		default:
			<-ctx.Done()
		}
	})
	return i, nil
}

// watchLoad scales each Service Bus function by the messages of its queue.
func (h *Host) watchLoad() {
	tick := h.clock.NewTicker(scaleEvery)
	defer tick.Stop()
	for {
		select {
		case <-h.listening.Done():
			return
		case <-tick.Chan():
		}
		for _, g := range h.groups {
			if err := g.scale(h.wanted(g)); err != nil {
				h.note(slog.LevelError, "Host.Scale", "scale", slog.String("group", g.name), slog.Any("error", err))
			}
		}
	}
}

func (h *Host) wanted(g *group) int {
	f := g.functions[0]
	if !f.is("serviceBusTrigger") {
		return 1
	}
	target := h.options.bus.calls
	if f.trigger.IsSessionsEnabled {
		target = h.options.bus.sessions
	}
	n := (h.config.Counts(f.trigger.QueueName) + target - 1) / target
	return min(max(n, 1), h.config.MaxInstances)
}

// note writes one line of the host's log.
func (h *Host) note(level slog.Level, category, text string, attrs ...slog.Attr) {
	h.config.Log.LogAttrs(context.WithoutCancel(h.ctx), level, text, append(attrs, slog.String("category", category))...)
}

func (h *Host) function(name string) *function {
	for _, f := range h.functions {
		if strings.EqualFold(f.name, name) {
			return f
		}
	}
	return nil
}

// workers returns the workers of the group that runs the function, or of all groups for "".
func (h *Host) instances(function string) []*instance {
	var all []*instance
	f := h.function(function)
	for _, g := range h.groups {
		if function == "" || f != nil && f.group() == g.name {
			g.mu.Lock()
			all = append(all, g.instances...)
			g.mu.Unlock()
		}
	}
	return all
}

// URL is where HTTP is served, without a slash at the end.
func (h *Host) URL() string { return h.url }

// Key opens every function of level function, MasterKey those of level admin and /admin as well.
func (h *Host) Key() string { return h.config.Key }

// MasterKey opens everything.
func (h *Host) MasterKey() string { return h.config.MasterKey }

// FunctionErrors says which functions were left out and why.
func (h *Host) FunctionErrors() []error { return h.errs }

// Processes returns the handler processes as they are now.
func (h *Host) Processes() []Process {
	var all []Process
	for _, i := range h.instances("") {
		all = append(all, i.w.process())
	}
	return all
}

// Ready waits until every group has a process that answers.
func (h *Host) Ready(ctx context.Context) error {
	for _, i := range h.instances("") {
		if err := i.w.becomeReady(ctx); err != nil {
			return fmt.Errorf("wait for handler of %s: %w", i.w.group, err)
		}
	}
	return nil
}

// Kill ends the processes that run a function, as kill -9 does, and returns when they are gone.
func (h *Host) Kill(function string) error {
	all := h.instances(function)
	if len(all) == 0 || function == "" {
		return fmt.Errorf("kill: no function %s", function)
	}
	for _, i := range all {
		i.w.kill()
	}
	return nil
}

// Fire runs a timer's function now, beside its schedule, and returns its error.
func (h *Host) Fire(ctx context.Context, function string) error {
	for _, i := range h.instances(function) {
		if i.timer != nil && function != "" {
			return i.timer.manual(ctx)
		}
	}
	return fmt.Errorf("fire: no timer %s", function)
}

// Invoke calls a function that is not triggered by HTTP with an input, as the portal does: a message has the
// input as body and none of its own metadata.
func (h *Host) Invoke(ctx context.Context, function, input string) error {
	f, all := h.function(function), h.instances(function)
	if f == nil || len(all) == 0 || f.is("httpTrigger") {
		return fmt.Errorf("invoke: no such function %s", function)
	}
	if all[0].timer != nil {
		return all[0].timer.manual(ctx)
	}
	var value any = input
	if f.binary() {
		value = []byte(input)
	}
	inv := invocation{f: f, reason: "This function was programmatically called via the host APIs."}
	_, err := all[0].w.invoke(ctx, inv, h.newEnvelope(f, value, nil))
	return err
}

// Done is closed when the host has ended, by Close, Drain or itself.
func (h *Host) Done() <-chan struct{} { return h.done }

// Err says why the host has ended by itself: [ErrStrikes], [ErrNoStart]. It is nil while it runs and after Close.
func (h *Host) Err() error {
	select {
	case <-h.done:
		return h.err
	default:
		return nil
	}
}

// Drain stops the triggers and HTTP, waits for what is under way until ctx ends, and then kills the
// processes, which learn nothing of it.
func (h *Host) Drain(ctx context.Context) error {
	h.deafen()
	err := h.server.Shutdown(ctx)
	for _, i := range h.instances("") {
		select {
		case <-i.idle:
		case <-ctx.Done():
			err = errors.Join(err, ctx.Err())
		}
	}
	h.shutdown(nil)
	if err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	return nil
}

// Close kills the processes and returns when everything has ended. What was under way fails.
func (h *Host) Close() error {
	h.shutdown(nil)
	return nil
}

// shutdown ends the host once; later calls wait for the first.
func (h *Host) shutdown(why error) {
	h.stopping.Do(func() {
		h.err = why
		h.deafen()
		all := h.instances("")
		for _, i := range all {
			i.w.stop()
		}
		h.cancel()
		_ = h.server.Close() // its connections have nobody to serve them
		h.running.Wait()
		for _, i := range h.instances("") {
			i.w.stop() // one that was being added meanwhile
		}
		close(h.done)
	})
}
