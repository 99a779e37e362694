// A controller on controller-runtime's envtest, whose etcd is what TEST_ASSET_ETCD names.
//
//	envtest CRD_FILE
//
// It says a line for each thing that was shown and ends with 0, or with 1 and what was not.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const timeout = 30 * time.Second

var pageKind = schema.GroupVersionKind{Group: "kvstore.example", Version: "v1", Kind: "Page"}

func main() {
	log.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(crd string) (err error) {
	environment := &envtest.Environment{
		CRDInstallOptions: envtest.CRDInstallOptions{Paths: []string{crd}, ErrorIfPathMissing: true},
	}
	config, err := environment.Start()
	defer func() {
		err = errors.Join(err, environment.Stop())
		if err == nil {
			fmt.Println("stopped")
		}
	}()
	if err != nil {
		return err
	}
	etcd := environment.ControlPlane.Etcd
	fmt.Printf("started %s on %s\n", etcd.Path, etcd.URL.Host)

	manager, err := ctrl.NewManager(config, ctrl.Options{
		Metrics: metricsserver.Options{BindAddress: "0"},
	})
	if err != nil {
		return err
	}
	err = ctrl.NewControllerManagedBy(manager).
		Named("pages").For(newPage("")).Owns(&corev1.ConfigMap{}).
		Complete(reconcile.Func(func(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
			return reconcile.Result{}, publish(ctx, manager.GetClient(), request)
		}))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()
	err = show(ctx, manager.GetAPIReader(), manager.GetClient())
	cancel()
	return errors.Join(err, <-ended)
}

// publish keeps the title of a Page in a ConfigMap that belongs to it.
func publish(ctx context.Context, objects client.Client, request reconcile.Request) error {
	page := newPage("")
	if err := objects.Get(ctx, request.NamespacedName, page); err != nil {
		return client.IgnoreNotFound(err)
	}
	title, _, err := unstructured.NestedString(page.Object, "spec", "title")
	if err != nil {
		return err
	}
	published := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: page.GetName(), Namespace: page.GetNamespace()},
	}
	_, err = controllerutil.CreateOrUpdate(ctx, objects, published, func() error {
		published.Data = map[string]string{"title": title}
		return controllerutil.SetControllerReference(page, published, objects.Scheme())
	})
	return err
}

// show goes through what a controller's tests do; reader asks the API server, not the cache.
func show(ctx context.Context, reader client.Reader, objects client.Client) error {
	page := newPage("home")
	if err := unstructured.SetNestedField(page.Object, "Home", "spec", "title"); err != nil {
		return err
	}
	if err := objects.Create(ctx, page); err != nil {
		return err
	}
	if err := published(ctx, reader, "Home", ""); err != nil {
		return err
	}
	fmt.Println("created and published")

	stale := page.DeepCopy()
	edit := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"title":"Away"}}`))
	if err := objects.Patch(ctx, page, edit); err != nil {
		return err
	}
	if err := published(ctx, reader, "Away", ""); err != nil {
		return err
	}
	fmt.Println("edited and published")

	if err := objects.Update(ctx, stale); !apierrors.IsConflict(err) {
		return fmt.Errorf("an update of a stale Page: %w", err)
	}
	fmt.Println("a stale update is a conflict")

	configmap := &corev1.ConfigMap{}
	if err := reader.Get(ctx, client.ObjectKeyFromObject(page), configmap); err != nil {
		return err
	}
	if err := objects.Delete(ctx, configmap); err != nil {
		return err
	}
	if err := published(ctx, reader, "Away", string(configmap.UID)); err != nil {
		return err
	}
	fmt.Println("deleted and published again")
	return nil
}

// published waits for the ConfigMap of the Page to have this title, and another UID than `not`.
func published(ctx context.Context, reader client.Reader, title string, not string) error {
	found := &corev1.ConfigMap{}
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, timeout, true,
		func(ctx context.Context) (bool, error) {
			err := reader.Get(ctx, client.ObjectKey{Namespace: "default", Name: "home"}, found)
			there := err == nil && found.Data["title"] == title && string(found.UID) != not
			return there, client.IgnoreNotFound(err)
		})
	if err != nil {
		return fmt.Errorf("no ConfigMap with the title %s: %w", title, err)
	}
	return nil
}

func newPage(name string) *unstructured.Unstructured {
	page := &unstructured.Unstructured{}
	page.SetGroupVersionKind(pageKind)
	page.SetNamespace("default")
	page.SetName(name)
	return page
}
