// A function as the Functions Framework's own documentation has them: it prints what it was given, and answers nothing of its own.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"
	"github.com/cloudevents/sdk-go/v2/event"
)

func init() {
	functions.CloudEvent("receive", receive)
}

func receive(_ context.Context, e event.Event) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	return nil
}

func main() {
	if err := funcframework.StartHostPort("127.0.0.1", os.Getenv("PORT")); err != nil {
		log.Fatal(err)
	}
}
