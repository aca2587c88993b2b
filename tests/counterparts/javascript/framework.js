// A function as the Functions Framework's own documentation has them: it prints what it was given, and answers nothing of its own.
'use strict';

const functions = require('@google-cloud/functions-framework');

functions.cloudEvent('receive', (event) => {
  const { data, ...attributes } = event.toJSON ? event.toJSON() : event;
  console.log(JSON.stringify({ attributes, data }));
});
