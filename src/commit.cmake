# Writes the header OUT with the commit of SOURCE, only when it has changed, to avoid rebuilds.
# `git archive` fills in the commit below. It is "unknown" without Git, or if SOURCE is not the root
# of its own checkout.
set(commit unknown)
if("$Format:%H$" MATCHES "^[0-9a-f]+$")
  string(SUBSTRING "$Format:%H$" 0 12 commit)
endif()
find_package(Git QUIET)
if(GIT_FOUND)
  foreach(name IN ITEMS GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE) # of a hook that builds this
    unset(ENV{${name}})
  endforeach()
  execute_process(COMMAND ${GIT_EXECUTABLE} -C ${SOURCE} rev-parse --show-toplevel
    OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed ERROR_QUIET)
  get_filename_component(source "${SOURCE}" REALPATH)
  if(NOT failed AND top STREQUAL source)
    execute_process(COMMAND ${GIT_EXECUTABLE} --no-optional-locks -C ${SOURCE}
        describe --always --abbrev=12 --exclude=* --dirty=-changed
      OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed
      ERROR_QUIET)
    if(NOT failed AND described MATCHES "^[0-9a-f]+(-changed)?$")
      set(commit ${described})
    endif()
  endif()
endif()

set(text "/* Made by CMake at every build. */\n#define NNMF_COMMIT \"${commit}\"\n")
set(before "")
if(EXISTS ${OUT})
  file(READ ${OUT} before)
endif()
if(NOT before STREQUAL text)
  file(WRITE ${OUT} "${text}")
endif()
