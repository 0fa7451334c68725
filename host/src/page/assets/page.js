// Starts the parts of the page. Everything can be read without them.
import { listen } from "./stream.js";
import { act } from "./act.js";
import { checks } from "./check.js";
import { explain } from "./why.js";
import { picture } from "./picture.js";
import { tasks } from "./task.js";
import { pauses } from "./pause.js";
import { showLocal } from "./clock.js";

act();
explain();
checks();
picture();
tasks();
pauses();
showLocal(document);
listen();
