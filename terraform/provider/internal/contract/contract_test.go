package contract

import (
	"fmt"
	"testing"
)

func TestX(t *testing.T) {
	for _, l := range Pipeline().Leaves() {
		fmt.Println(l)
	}
}
