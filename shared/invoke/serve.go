package invoke

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// PortSetting names the environment variable that holds the port the host wants the handler on.
const PortSetting = "FUNCTIONS_CUSTOMHANDLER_PORT"

// Restart is the exit code of a handler that was asked to stop. The host starts the process again and counts
// no failure. After exit code 0 it would start nothing, and every later message would fail until it is dead.
const Restart = 200

// drain bounds how long Serve waits for invocations under way: less than the 30 s that a container gets
// between SIGTERM and SIGKILL.
const drain = 25 * time.Second

// Serve listens on 127.0.0.1 and serves h until ctx ends; then it takes no more requests and waits for those
// under way, at most 25 s, before it cancels their contexts. It returns nil when all of them were answered.
//
// Call it when everything h needs is ready: the host sends work as soon as the port answers. The caller
// exits with [Restart] after a signal and never with 0.
func Serve(ctx context.Context, port string, h http.Handler, log *slog.Logger) error {
	if port == "" { // which would be any port
		return fmt.Errorf("%s is not set", PortSetting)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return fmt.Errorf("listen on port in %s: %w", PortSetting, err)
	}
	log.Info("listening", "address", l.Addr().String())
	return serve(ctx, l, h, drain)
}

func serve(ctx context.Context, l net.Listener, h http.Handler, bound time.Duration) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second, // the only client is the host on this machine
		BaseContext:       func(net.Listener) context.Context { return work },
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve invocations: %w", err)
	case <-ctx.Done():
	}
	end, stop := context.WithTimeout(work, bound)
	defer stop()
	if err := s.Shutdown(end); err != nil {
		return errors.Join(fmt.Errorf("wait for invocations under way: %w", err), s.Close())
	}
	return nil
}
