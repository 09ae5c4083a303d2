// Command handler is the custom handler that Azure Functions starts: one process for all functions. This file is the
// only place that knows what the stages stand on.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/blob/azure"
	"github.com/mailferry/mailferry/shared/bus/servicebus"
	"github.com/mailferry/mailferry/shared/config"
	"github.com/mailferry/mailferry/shared/fleet"
	"github.com/mailferry/mailferry/shared/invoke"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/ledger/tables"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/ews"
	"github.com/mailferry/mailferry/shared/mailbox/ews/login"
	"github.com/mailferry/mailferry/shared/mailbox/graph"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/receipt"
	"github.com/mailferry/mailferry/shared/telemetry"
	"github.com/mailferry/mailferry/shared/verifier"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, config.Environment, os.Stdout))
}

// run serves invocations until ctx ends and returns the process's exit code. The Functions host starts a handler again
// that exits with 200, counts any other code as a crash, and starts nothing after 0: so 0 is never returned.
func run(ctx context.Context, l config.Lookup, stdout io.Writer) int {
	level := new(slog.LevelVar)
	log := slog.New(slog.NewJSONHandler(stdout, &slog.HandlerOptions{Level: level}))
	c, err := config.Read(ctx, l)
	if err != nil {
		log.Error("handler cannot start", "reason", err.Error())
		return 1
	}
	level.Set(c.Log)
	clock := clockwork.NewRealClock()
	t, err := telemetry.Open(ctx, telemetry.Options{Endpoint: c.OTLP, Version: version(), Clock: clock, Log: log})
	if err != nil {
		log.Error("handler cannot start", "reason", err.Error())
		return 1
	}
	defer flush(ctx, t, log)
	p, err := assemble(c, clock, t, log)
	if err != nil {
		log.Error("handler cannot start", "reason", err.Error())
		return 1
	}
	h := telemetry.Host(routes(p, newGate(c.HTTPAuth == "entra", clock, log, t)))
	if err := invoke.Serve(ctx, c.Port, h, log); err != nil {
		log.Error("handler stopped", "reason", err.Error())
		return 1
	}
	return invoke.Restart
}

// flushing is what is left for telemetry of the 30 s between SIGTERM and SIGKILL, of which invocations may take 25.
const flushing = 3 * time.Second

func flush(ctx context.Context, t *telemetry.Telemetry, log *slog.Logger) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), flushing)
	defer stop()
	if err := t.Shutdown(ctx); err != nil {
		log.Warn("telemetry not sent", "reason", err.Error())
	}
}

// assemble opens everything the stages need and puts them together.
func assemble(c config.Config, clock clockwork.Clock, t *telemetry.Telemetry, log *slog.Logger) (*pipeline.Pipeline, error) {
	cred, err := credential(c)
	if err != nil {
		return nil, err
	}
	source, err := ews.New(ews.Options{URL: c.EWS.URL, Accounts: accounts(c.EWS), Auth: login.Scheme(c.EWS.Auth),
		MaxConcurrent: c.EWS.Concurrency, Clock: clock, Log: log})
	if err != nil {
		return nil, fmt.Errorf("open source: %w", err)
	}
	target, err := graph.New(graph.Options{BaseURL: c.Graph.URL, Credential: cred, Clock: clock, Log: log,
		Transport: telemetry.Transport(toGraph())})
	if err != nil {
		return nil, fmt.Errorf("open target: %w", err)
	}
	n := pipeline.Needs{Clock: clock, Log: log, Telemetry: t, NewID: newID,
		Depth: verifier.Depth(c.Verify), Memory: c.Memory, Budget: c.Budget, Doubt: c.Doubt, Release: version()}
	if c.ReceiptKey != "" {
		if n.Key, err = receipt.ParseKey(c.ReceiptKey.Reveal()); err != nil {
			return nil, fmt.Errorf("setting RECEIPT_KEY: %w", err)
		}
	}
	if err := stores(&n, c, cred); err != nil {
		return nil, err
	}
	n.Sources = &fleet.Sources{Accounts: counted{source, telemetry.Requests(source)}, Ledger: n.Ledger, Clock: clock, Log: log}
	n.Targets = &fleet.Targets{Apps: target, Ledger: n.Ledger, Clock: clock, Log: log}
	return pipeline.New(n), nil
}

// counted is the Exchange with its requests counted.
type counted struct {
	*ews.Client
	sources mailbox.Sources
}

func (c counted) Source(ctx context.Context, address string) (mailbox.Source, error) {
	return c.sources.Source(ctx, address)
}

// toGraph is the transport that graph makes for itself when it is given none.
func toGraph() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}

func accounts(e config.EWS) []ews.Account {
	var out []ews.Account
	for _, a := range e.Accounts {
		out = append(out, ews.Account{User: a.User, Password: login.Secret(a.Password.Reveal())})
	}
	return out
}

func newID() string { return strings.ReplaceAll(uuid.NewString(), "-", "")[:12] }

// credential is the managed identity.
func credential(c config.Config) (azcore.TokenCredential, error) {
	o := &azidentity.ManagedIdentityCredentialOptions{}
	if c.ClientID != "" {
		o.ID = azidentity.ClientID(c.ClientID)
	}
	cred, err := azidentity.NewManagedIdentityCredential(o)
	if err != nil {
		return nil, fmt.Errorf("open managed identity: %w", err)
	}
	return cred, nil
}

// stores opens the ledger, the blobs and the bus. Nothing is called yet: the containers, tables and queues are there,
// provisioned by infra.
func stores(n *pipeline.Needs, c config.Config, cred azcore.TokenCredential) error {
	rows, err := tableClient(c.Storage, cred)
	if err != nil {
		return fmt.Errorf("open Table storage: %w", err)
	}
	n.Ledger = &ledger.Ledger{Waves: tables.Of(rows, "waves"), Mailboxes: tables.Of(rows, "mailboxes"), Groups: tables.Of(rows, "groups"),
		Fences: tables.Of(rows, "fences"), Problems: tables.Of(rows, "problems")}
	blobs, err := blobClient(c.Storage, cred)
	if err != nil {
		return fmt.Errorf("open Blob storage: %w", err)
	}
	n.Manifests, n.Staging, n.Reports = azure.Of(blobs, "manifests"), azure.Of(blobs, "staging"), azure.Of(blobs, "reports")
	n.Receipts = azure.Of(blobs, "receipts")
	messages, err := busClient(c.ServiceBus, cred)
	if err != nil {
		return fmt.Errorf("open Service Bus: %w", err)
	}
	n.Bus = servicebus.New(messages)
	return nil
}

func tableClient(e config.Storage, cred azcore.TokenCredential) (*aztables.ServiceClient, error) {
	if e.ConnectionString != "" {
		return aztables.NewServiceClientFromConnectionString(e.ConnectionString.Reveal(), nil)
	}
	return aztables.NewServiceClient(e.TableURL, cred, nil)
}

func blobClient(e config.Storage, cred azcore.TokenCredential) (*azblob.Client, error) {
	if e.ConnectionString != "" {
		return azblob.NewClientFromConnectionString(e.ConnectionString.Reveal(), nil)
	}
	return azblob.NewClient(e.BlobURL, cred, nil)
}

func busClient(e config.ServiceBus, cred azcore.TokenCredential) (*azservicebus.Client, error) {
	if e.ConnectionString != "" {
		return azservicebus.NewClientFromConnectionString(e.ConnectionString.Reveal(), nil)
	}
	return azservicebus.NewClient(e.Namespace, cred, nil)
}
