// Package azuritetest starts Azurite, the storage emulator that Microsoft publishes, for tests and local runs.
package azuritetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// The account that every Azurite has; its key is published and opens nothing else.
const (
	azuriteAccount = "devstoreaccount1"
	azuriteKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// Server is a running Azurite with its data in memory.
type Server struct {
	ConnectionString string

	cmd    *exec.Cmd
	out    bytes.Buffer
	exited chan struct{}
}

// ErrAbsent says that Azurite is not installed; ./scripts/setup does so.
var ErrAbsent = errors.New("Azurite is not installed; run ./scripts/setup")

// New starts Azurite for a test and stops it afterwards.
func New(t testing.TB) *Server {
	t.Helper()
	root, err := os.Getwd()
	for err == nil {
		if _, none := os.Stat(filepath.Join(root, "go.mod")); none == nil {
			break
		}
		if filepath.Dir(root) == root {
			err = errors.New("find the repository: no go.mod above the test")
		}
		root = filepath.Dir(root)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := Start(t.Context(), filepath.Join(root, "scripts", "azurite"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Start starts the Azurite that npm ci has put below dir and waits until it answers.
func Start(ctx context.Context, dir string) (*Server, error) {
	entry := filepath.Join(dir, "node_modules", "azurite", "dist", "src", "azurite.js")
	if _, err := os.Stat(entry); err != nil {
		return nil, ErrAbsent
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	a := &Server{exited: make(chan struct{})}
	a.cmd = exec.Command("node", entry, "--blobPort", ports[0], "--queuePort", ports[1], "--tablePort", ports[2],
		"--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence")
	a.cmd.Stdout, a.cmd.Stderr = &a.out, &a.out
	if err := a.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Azurite: %w", err)
	}
	go func() {
		defer close(a.exited)
		_ = a.cmd.Wait()
	}()
	a.ConnectionString = fmt.Sprintf("DefaultEndpointsProtocol=http;AccountName=%[1]s;AccountKey=%[2]s;"+
		"BlobEndpoint=http://127.0.0.1:%[3]s/%[1]s;QueueEndpoint=http://127.0.0.1:%[4]s/%[1]s;TableEndpoint=http://127.0.0.1:%[5]s/%[1]s;",
		azuriteAccount, azuriteKey, ports[0], ports[1], ports[2])
	for _, p := range []string{ports[0], ports[2]} {
		if err := a.await(ctx, p); err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	return a, nil
}

// freePorts asks the system for ports that nobody listens on.
func freePorts(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		out = append(out, port)
	}
	return out, nil
}

// await returns when a port is open.
func (a *Server) await(ctx context.Context, port string) error {
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
		if err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-a.exited:
			return fmt.Errorf("start Azurite: it exited: %s", a.out.String())
		case <-ctx.Done():
			return fmt.Errorf("start Azurite: port %s does not open: %w", port, ctx.Err())
		}
	}
}

// Close stops Azurite. It obeys SIGINT in all its parts, but not SIGTERM.
func (a *Server) Close() error {
	_ = a.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-a.exited:
	case <-time.After(10 * time.Second):
		_ = a.cmd.Process.Kill()
		<-a.exited
	}
	return nil
}
