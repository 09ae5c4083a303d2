// Package stack runs the whole of Mailferry on one machine: the handler as it is deployed, started by a local Functions
// host; messages over AMQP, blobs and tables in Azurite; and two Exchanges that speak EWS and Microsoft Graph.
package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"

	"github.com/mailferry/mailferry/shared/azuritetest"
	"github.com/mailferry/mailferry/shared/blob/azure"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest"
	"github.com/mailferry/mailferry/shared/invoke/hosttest"
	"github.com/mailferry/mailferry/shared/ledger/tables"
	"github.com/mailferry/mailferry/shared/mailbox/ews/ewstest"
	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
	"github.com/mailferry/mailferry/shared/receipt"
)

// Queues are the queues as infra provisions them.
func Queues() []servicebustest.Queue {
	queue := func(name string, sessions bool) servicebustest.Queue {
		return servicebustest.Queue{Name: name, Sessions: sessions, LockDuration: 5 * time.Minute, MaxDeliveryCount: 10,
			DuplicateWindow: 10 * time.Minute}
	}
	return []servicebustest.Queue{queue("plan", false), queue("copy", true), queue("verify", false)}
}

// Tables and Containers are what the handler expects to be there.
var (
	Tables     = [...]string{"waves", "mailboxes", "groups", "fences", "problems"}
	Containers = [...]string{"manifests", "staging", "receipts", "reports"}
)

// The service account of the local Exchange, and the app registrations of the local tenant.
const (
	ServiceUser     = "svc-mailferry"
	ServicePassword = "local-only-4711"
	ServiceDomain   = "CORP"
	AppID           = "7d1f2a52-0000-4000-8000-00000000f001" // Mailferry's identity
	AuditorID       = "7d1f2a52-0000-4000-8000-00000000a001" // asks afterwards; has limits of its own
)

// Options say what to start.
type Options struct {
	Package string            // folder with host.json, the handler and one folder per function
	Azurite string            // folder in which npm ci was run
	Env     map[string]string // settings over the default ones
	Log     *slog.Logger      // of the host and the handler
	Lock    time.Duration     // of the queues; 0: as infra provisions it
	Front   Front             // between the handler and Azurite; nil: nothing
	EWS     ewstest.Options
	Graph   graphtest.Options
}

// Front stands between the handler and storage: it takes the connection string and returns another.
type Front func(storage string) (string, error)

// Stack is everything, running.
type Stack struct {
	EWS     *ewstest.Server
	Graph   *graphtest.Server
	Bus     *servicebustest.Server
	Host    *hosttest.Host
	Storage string             // connection string
	Signer  receipt.SigningKey // of the receipts

	azurite *azuritetest.Server
	config  hosttest.Config
	closers []func() error
}

// Start starts everything. On an error nothing is left running.
func Start(ctx context.Context, o Options) (*Stack, error) {
	s := &Stack{}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context, o Options) (err error) {
	if s.Signer, err = receipt.NewKey(); err != nil {
		return err
	}
	if s.azurite, err = azuritetest.Start(ctx, o.Azurite); err != nil {
		return err
	}
	s.defers(s.azurite.Close)
	s.Storage = s.azurite.ConnectionString
	if err := provision(ctx, s.Storage); err != nil {
		return err
	}
	queues := Queues()
	for i := range queues {
		queues[i].LockDuration = cmp.Or(o.Lock, queues[i].LockDuration)
	}
	if s.Bus, err = servicebustest.Start(servicebustest.Options{Queues: queues}); err != nil {
		return fmt.Errorf("start Service Bus: %w", err)
	}
	s.defers(s.Bus.Close)
	s.EWS = ewstest.Start(o.EWS)
	s.defers(func() error { s.EWS.Close(); return nil })
	s.EWS.AddAccount(ServiceUser, ServicePassword, ServiceDomain, ewstest.MayImpersonateAll())
	o.Graph.DeltaKept = cmp.Or(o.Graph.DeltaKept, graphtest.OutlookLinks)
	o.Graph.Apps = []graphtest.App{{ID: AppID, Roles: graphtest.AllRoles()}, {ID: AuditorID, Roles: graphtest.AllRoles()}}
	if s.Graph, err = graphtest.Start(o.Graph); err != nil {
		return fmt.Errorf("start Graph: %w", err)
	}
	s.defers(func() error { s.Graph.Close(); return nil })
	env := s.settings(o.Env)
	if o.Front != nil {
		if env["StorageConnection"], err = o.Front(s.Storage); err != nil {
			return fmt.Errorf("put something in front of storage: %w", err)
		}
	}
	s.config = hosttest.Config{Root: o.Package, Env: env, Log: o.Log}
	s.defers(func() error {
		if s.Host == nil {
			return nil
		}
		return s.Host.Close()
	})
	return s.StartHost(ctx)
}

// StartHost starts the Functions host, or another one after the first has stopped.
func (s *Stack) StartHost(ctx context.Context) (err error) {
	if s.Host, err = hosttest.Start(ctx, s.config); err != nil {
		return fmt.Errorf("start Functions host: %w", err)
	}
	if errs := s.Host.FunctionErrors(); len(errs) > 0 {
		return fmt.Errorf("load functions: %w", errors.Join(errs...))
	}
	return s.Host.Ready(ctx)
}

// settings are the app settings.
func (s *Stack) settings(over map[string]string) map[string]string {
	url, header := s.Graph.IdentityEndpoint()
	env := map[string]string{
		"AzureWebJobsStorage":  s.Storage,
		"ServiceBusConnection": s.Bus.ConnectionString(),
		"StorageConnection":    s.Storage,
		"EWS_URL":              s.EWS.URL(),
		"EWS_USER":             ServiceDomain + `\` + ServiceUser,
		"EWS_PASSWORD":         ServicePassword,
		"GRAPH_URL":            s.Graph.URL(),
		"IDENTITY_ENDPOINT":    url,
		"IDENTITY_HEADER":      header,
		"VERIFY":               "full",
		"RECEIPT_KEY":          string(s.Signer.RevealPEM()),
	}
	maps.Copy(env, over)
	return env
}

// provision makes the tables and containers, as infra does in Azure.
func provision(ctx context.Context, storage string) error {
	rows, err := aztables.NewServiceClientFromConnectionString(storage, nil)
	if err != nil {
		return fmt.Errorf("open Table storage: %w", err)
	}
	for _, name := range Tables {
		if err := tables.Of(rows, name).Create(ctx); err != nil {
			return err
		}
	}
	blobs, err := azblob.NewClientFromConnectionString(storage, nil)
	if err != nil {
		return fmt.Errorf("open Blob storage: %w", err)
	}
	for _, name := range Containers {
		if err := azure.Of(blobs, name).Create(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stack) defers(f func() error) { s.closers = append(s.closers, f) }

// Close stops everything, the last started first.
func (s *Stack) Close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}
